//! `GET /`: the latest messages for a reader in a browser. One file, no scripts, nothing loaded from elsewhere.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};

use crate::channel::Channel;
use crate::ledger::Outcome;
use crate::provider::{Provider, Shown};
use crate::settings::ChannelSettings;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3">
<title>Latest messages</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#d8dce2, #3a4048); --soft: light-dark(#5b6470, #a0a8b3); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #15181c); color: light-dark(#1b1f24, #e6e9ed); }
h1 { font-size: 1.3rem; margin: 0; }
p { margin: .2rem 0 1rem; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-top: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; border: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .85em; overflow-wrap: anywhere; }
pre { margin: .3rem 0 0; white-space: pre-wrap; font-size: .85em; max-height: 14rem; overflow-y: auto; }
.taken { color: light-dark(#12703b, #5fd08c); }
.repeated { color: var(--soft); }
.refused { color: light-dark(#b3261e, #ff8a80); }
.lost { color: light-dark(#8a5a00, #f2b84b); }
</style>
</head>
<body>
<h1>Latest messages</h1>
<p>What the e-mail and text-message companies of the demo were given. Nothing leaves this machine.</p>
"#;

/// The page.
pub(crate) async fn get(State(provider): State<Arc<Provider>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Html(render(&provider)))
}

fn render(provider: &Provider) -> String {
    let mut page = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = channels(&mut page, provider);
    let _ = messages(&mut page, &provider.latest());
    page.push_str("</body>\n</html>\n");
    page
}

fn channels(page: &mut String, provider: &Provider) -> std::fmt::Result {
    let (totals, settings) = (provider.totals(), provider.settings());
    page.push_str("<div class=\"wide\"><table>\n<tr><th>Channel</th>");
    for column in [
        "Delivered",
        "Repeated",
        "Refused",
        "Answers lost",
        "In progress",
        "Latency",
        "Failures",
        "Lost answers",
    ] {
        write!(page, "<th class=\"number\">{column}</th>")?;
    }
    page.push_str("</tr>\n");
    for channel in [Channel::Email, Channel::Sms] {
        let (totals, in_progress) = (totals.of(channel), provider.in_progress(channel));
        let ChannelSettings { latency_ms, failure_rate, lost_answer_rate } = settings.of(channel);
        write!(page, "<tr><td>{}</td>", label(channel))?;
        for count in [totals.distinct, totals.repeated, totals.refused, totals.lost_answers, in_progress] {
            write!(page, "<td class=\"number\">{count}</td>")?;
        }
        write!(page, "<td class=\"number\">{latency_ms} ms</td>")?;
        for rate in [failure_rate, lost_answer_rate] {
            write!(page, "<td class=\"number\">{} %</td>", (rate * 10_000.0).round() / 100.0)?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn messages(page: &mut String, latest: &[Shown]) -> std::fmt::Result {
    if latest.is_empty() {
        page.push_str("<p>No message yet. Place an order, and its confirmations appear here.</p>\n");
        return Ok(());
    }
    page.push_str(
        "<div class=\"wide\"><table>\n<tr><th>Time (UTC)</th><th>Channel</th><th>Outcome</th><th>To</th><th>Order and \
         text</th></tr>\n",
    );
    for Shown { entry, preview } in latest {
        let (class, outcome) = match entry.outcome {
            Outcome::Taken => ("taken", "delivered"),
            Outcome::TakenAnswerLost => ("lost", "delivered, answer lost"),
            Outcome::Repeated => ("repeated", "repeated"),
            Outcome::Refused => ("refused", "refused"),
        };
        write!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{outcome}</td><td>{}</td><td><code>{}</code>",
            entry.at.format("%H:%M:%S%.3f"),
            label(entry.channel),
            escape(&entry.to),
            escape(entry.order_id.as_deref().unwrap_or("no order named")),
        )?;
        if !preview.is_empty() {
            write!(page, "<pre>{}</pre>", escape(preview))?;
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

const fn label(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "e-mail",
        Channel::Sms => "text message",
    }
}

/// Senders write what they like, so nothing of theirs may become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_sender_writes_becomes_markup() {
        assert_eq!(escape("<b onclick='x(\"&\")'>"), "&lt;b onclick=&#39;x(&quot;&amp;&quot;)&#39;&gt;");
    }
}
