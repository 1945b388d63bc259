//! What the terminal can show.

use std::io::IsTerminal;

/// Columns of a page that goes nowhere in particular.
const COLUMNS: usize = 120;

/// Columns of the terminal; what `COLUMNS` says has precedence.
pub(super) fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let seen = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    said.or_else(seen).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Colours are for people, and not for all of them: <https://no-color.org>.
pub(super) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}
