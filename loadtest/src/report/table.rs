//! A table, as Markdown that can be read as it is, and as HTML that fits a phone.

use std::fmt::{self, Display, Write as _};

use super::page::escaped;

/// A head, and lines that are no longer than it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without lines.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|cell| (*cell).to_owned()).collect(), rows: Vec::new() }
    }

    /// One more line. Cells that are missing are empty; what is beyond the head is left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().chain(std::iter::repeat(String::new()));
        self.rows.push(cells.take(self.head.len()).collect());
    }

    /// Its lines.
    pub fn into_rows(self) -> Vec<Vec<String>> {
        self.rows
    }

    /// As HTML. Every cell carries its column's name: on a narrow screen a line becomes a block in which the head would be out of sight.
    pub fn html(&self) -> String {
        let mut out = String::from("<table><thead><tr>");
        for cell in &self.head {
            let _ = write!(out, "<th>{}</th>", escaped(cell));
        }
        out.push_str("</tr></thead><tbody>\n");
        for row in &self.rows {
            out.push_str("<tr>");
            for (name, cell) in self.head.iter().zip(row) {
                let class = match cell.as_str() {
                    "reached" => " class=\"good\"",
                    "missed" => " class=\"bad\"",
                    "" => " class=\"empty\"",
                    _ => "",
                };
                let _ = write!(out, "<td data-name=\"{}\"{class}>{}</td>", escaped(name), escaped(cell));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table>\n");
        out
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let cell = |text: &str| text.replace('|', "\\|");
        let width = |column: usize| {
            lines().filter_map(move |line| line.get(column)).map(|text| cell(text).chars().count())
        };
        let widths: Vec<usize> =
            (0..self.head.len()).map(|column| width(column).max().unwrap_or_default()).collect();
        for (number, line) in lines().enumerate() {
            for (text, width) in line.iter().zip(&widths) {
                write!(f, "| {:<width$} ", cell(text))?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{:-<1$}", "", width + 2))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["what", "ours"]);
        table.row(["a|b <script>".to_owned(), "reached".to_owned()]);
        table.row(["c".to_owned()]);
        table
    }

    #[test]
    fn a_table_is_markdown_with_columns_below_each_other() {
        let expected = "\
| what          | ours    |
|---------------|---------|
| a\\|b <script> | reached |
| c             |         |
";
        assert_eq!(table().to_string(), expected);
    }

    #[test]
    fn in_html_every_cell_names_its_column_and_text_stays_text() {
        let html = table().html();
        assert!(html.contains(r#"<td data-name="what">a|b &lt;script&gt;</td>"#), "{html}");
        assert!(html.contains(r#"<td data-name="ours" class="good">reached</td>"#), "{html}");
    }
}
