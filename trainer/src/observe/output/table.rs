//! Tables that fit the terminal: columns that matter least are left out until the rest fits.

use std::io::IsTerminal;

use comfy_table::{CellAlignment, Table, presets};

/// One column: what stands over it, which side it is aligned to, and how soon it goes when there is no room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// What stands over it.
    pub(crate) title: &'static str,
    /// Whether its cells are numbers.
    pub(crate) right: bool,
    /// 0 always stays; of the others the highest goes first.
    pub(crate) spare: u8,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(title: &'static str, spare: u8) -> Self {
        Self { title, right: false, spare }
    }

    /// A column of numbers.
    pub(crate) const fn number(title: &'static str, spare: u8) -> Self {
        Self { title, right: true, spare }
    }
}

/// The columns that a terminal has: what the terminal says, or `COLUMNS`; no limit where stdout is neither.
pub(crate) fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if stdout.is_terminal()
        && let Some((width, _)) = terminal_size::terminal_size_of(&stdout)
    {
        return Some(usize::from(width.0));
    }
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|width| *width > 0)
}

/// A table of `rows`, each with a cell for every column, at most `width` characters wide if that can be done.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    loop {
        let text = draw(columns, &kept, rows);
        let needed = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let spare = kept.iter().copied().filter(|index| columns[*index].spare > 0);
        match spare.max_by_key(|index| columns[*index].spare) {
            Some(index) if width.is_some_and(|width| needed > width) => kept.retain(|kept| *kept != index),
            Some(_) | None => return text,
        }
    }
}

fn draw(columns: &[Column], kept: &[usize], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(kept.iter().map(|index| columns[*index].title));
    for row in rows {
        table.add_row(kept.iter().map(|index| row[*index].clone()));
    }
    for (place, index) in kept.iter().enumerate() {
        let side = if columns[*index].right { CellAlignment::Right } else { CellAlignment::Left };
        table.column_mut(place).map(|column| column.set_cell_alignment(side)).into_iter().for_each(drop);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::text("peer", 0), Column::number("loss", 0), Column::number("received", 2), Column::text("run", 1)];

    fn rows() -> Vec<Vec<String>> {
        vec![["calm-heron-0000", "2.345", "1.2 MB", "0f0f0f0f0f0f"].map(str::to_owned).to_vec()]
    }

    #[test]
    fn columns_go_in_the_order_in_which_they_can_be_spared() {
        let titles = |width| table(&COLUMNS, &rows(), width).lines().nth(1).unwrap_or_default().to_owned();
        assert!(titles(None).contains("received") && titles(None).contains("run"));
        assert!(!titles(Some(50)).contains("received") && titles(Some(50)).contains("run"), "{}", titles(Some(50)));
        assert!(!titles(Some(30)).contains("run") && titles(Some(30)).contains("loss"));
    }

    #[test]
    fn a_table_fits_its_width_unless_all_that_is_left_must_stay() {
        for width in 28..90 {
            let text = table(&COLUMNS, &rows(), Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        assert!(table(&COLUMNS, &rows(), Some(5)).contains("calm-heron-0000"));
    }
}
