//! One HTML file with everything in it: no script, no font, no picture and no style from anywhere else.

use std::fmt::Write;

use crate::figures::STYLE as PLOT_STYLE;
pub(crate) use crate::figures::escaped;

use super::table::Table;

const STYLE: &str = include_str!("style.css");

/// A page that grows from its top.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// With a title and nothing else.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: format!("<h1>{}</h1>\n", escaped(title)) }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(text));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        self.body.push_str(&table.html());
    }

    /// Plots, as many side by side as the screen has room for, up to two.
    pub fn plots(&mut self, plots: &[String]) {
        self.body.push_str("<div class=\"plots\">\n");
        for plot in plots {
            let _ = writeln!(self.body, "<figure>{plot}</figure>");
        }
        self.body.push_str("</div>\n");
    }

    /// The whole file.
    pub fn html(&self) -> String {
        let (title, body) = (escaped(&self.title), &self.body);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n{STYLE}{PLOT_STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}
