//! Times as people read them, and as bars.

/// A time in microseconds, with a unit that fits.
pub(super) fn time(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs();
    // The bounds are where rounding would add a digit.
    let (seconds, milliseconds) = (as_float(us) / 1e6, as_float(us) / 1e3);
    match us {
        0..995 => format!("{sign}{milliseconds:.2} ms"),
        995..999_950 => format!("{sign}{milliseconds:.1} ms"),
        999_950..99_950_000 => format!("{sign}{seconds:.1} s"),
        99_950_000..7_170_000_000 => format!("{sign}{:.1} min", seconds / 60.0),
        7_170_000_000..356_400_000_000 => format!("{sign}{:.1} h", seconds / 3600.0),
        356_400_000_000..86_313_600_000_000 => format!("{sign}{:.1} d", seconds / 86_400.0),
        // A broken clock: no more than fits into a column.
        _ => format!("{sign}>999 d"),
    }
}

/// A time after the beginning.
pub(super) fn offset(us: i64) -> String {
    let sign = if us < 0 { "" } else { "+" };
    format!("{sign}{}", time(us))
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn as_float(us: u64) -> f64 {
    us as f64
}

/// The time that a row of cells stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) cells: usize,
}

impl Scale {
    /// The cells that a time covers, at least one: from, and up to before.
    pub(super) fn cover(&self, from_us: i64, to_us: i64) -> (usize, usize) {
        let (from, to) = (self.place(from_us, false), self.place(to_us, true));
        let from = from.min(self.cells.saturating_sub(1));
        (from, to.clamp(from + 1, self.cells.max(from + 1)))
    }

    /// Whether a time is much shorter than a cell.
    pub(super) fn is_short(&self, duration_us: i64) -> bool {
        let total = i128::from(self.to_us) - i128::from(self.from_us);
        i128::from(duration_us) * 4 * self.cells as i128 <= total
    }

    fn place(&self, at_us: i64, up: bool) -> usize {
        let total = (i128::from(self.to_us) - i128::from(self.from_us)).max(1);
        let at = (i128::from(at_us) - i128::from(self.from_us)).clamp(0, total);
        let cells = at * self.cells as i128;
        let place = if up { (cells + total - 1) / total } else { cells / total };
        usize::try_from(place).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        let shown =
            [0, 417, 994, 995, 12_345, 999_949, 999_950, 12_300_000, 100_000_000, 7_200_000_000].map(time);
        assert_eq!(
            shown,
            [
                "0.00 ms", "0.42 ms", "0.99 ms", "1.0 ms", "12.3 ms", "999.9 ms", "1.0 s", "12.3 s",
                "1.7 min", "2.0 h"
            ]
        );
        assert_eq!((offset(1500), offset(-1500)), ("+1.5 ms".to_owned(), "-1.5 ms".to_owned()));
        assert_eq!((time(400_000_000_000), time(i64::MIN)), ("4.6 d".to_owned(), "->999 d".to_owned()));
    }

    #[test]
    fn a_bar_lies_within_the_scale_and_has_at_least_one_cell() {
        let scale = Scale { from_us: 100, to_us: 200, cells: 10 };
        assert_eq!(scale.cover(100, 200), (0, 10));
        assert_eq!(scale.cover(115, 125), (1, 3));
        assert_eq!(
            (scale.cover(200, 200), scale.cover(0, 0), scale.cover(900, 50)),
            ((9, 10), (0, 1), (9, 10))
        );
        assert!(scale.is_short(2) && !scale.is_short(3));
        let nothing = Scale { from_us: 5, to_us: 5, cells: 10 };
        assert_eq!(nothing.cover(5, 5), (0, 1));
        let all = Scale { from_us: i64::MIN, to_us: i64::MAX, cells: 10 };
        assert_eq!(all.cover(i64::MIN, i64::MAX), (0, 10));
    }
}
