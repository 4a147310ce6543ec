//! A table, for the terminal, as Markdown and as CSV.

use serde::Serialize;

/// Rows of cells under a heading.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    /// Its files' stem.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// A line each, below the table.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<S: ToString>(
        name: &'static str,
        title: impl Into<String>,
        header: &[S],
    ) -> Table {
        let header = header.iter().map(ToString::to_string).collect();
        Table { name, title: title.into(), header, rows: Vec::new(), notes: Vec::new() }
    }

    /// One row more, as many cells as the heading has.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
        debug_assert_eq!(self.rows.last().map(Vec::len), Some(self.header.len()));
    }

    /// One note more.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The row that begins with `name`.
    #[cfg(test)]
    pub(crate) fn cells(&self, name: &str) -> &[String] {
        let row = self.rows.iter().find(|row| row[0] == name);
        &row.unwrap_or_else(|| panic!("no row {name}"))[1..]
    }

    /// In columns; what has only numbers below its heading stands at the right.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.header]).map(|row| row[column].chars());
            cells.map(Iterator::count).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut out = format!("{}\n", self.title);
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width - cell.chars().count());
                line += match self.is_numeric(column) {
                    true => gap + cell,
                    false => cell.clone() + &gap,
                }
                .as_str();
                line += "  ";
            }
            out += line.trim_end();
            out.push('\n');
        }
        for note in &self.notes {
            out += &format!("  {note}\n");
        }
        out
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = |column: usize| if self.is_numeric(column) { "---:" } else { "---" };
        let rules: Vec<String> = (0..self.header.len()).map(|c| rule(c).to_string()).collect();
        let mut out = format!("**{}**\n\n{}{}", self.title, line(&self.header), line(&rules));
        self.rows.iter().for_each(|row| out += &line(row));
        if !self.notes.is_empty() {
            out.push('\n');
        }
        self.notes.iter().for_each(|note| out += &format!("* {note}\n"));
        out
    }

    /// As CSV (RFC 4180), without title and notes.
    pub(crate) fn csv(&self) -> String {
        let cell = |text: &String| match text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.clone(),
        };
        let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n";
        std::iter::once(&self.header).chain(&self.rows).map(line).collect()
    }

    fn is_numeric(&self, column: usize) -> bool {
        let number =
            |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || "–-<+".contains(c));
        column > 0
            && self.rows.iter().filter(|row| number(&row[column])).count() * 2 > self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", "A table", &["name", "count"]);
        table.row(["a, \"b\"".into(), "7".into()]);
        table.row(["c".into(), "12".into()]);
        table.note("a note");
        table
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(
            table().text(),
            "A table\nname    count\na, \"b\"      7\nc          12\n  a note\n"
        );
    }

    #[test]
    fn markdown_and_csv_hold_every_cell() {
        let markdown = "**A table**\n\n| name | count |\n| --- | ---: |\n| a, \"b\" | 7 |\n| c | 12 |\n\n\
                        * a note\n";
        assert_eq!(table().markdown(), markdown);
        assert_eq!(table().csv(), "name,count\r\n\"a, \"\"b\"\"\",7\r\nc,12\r\n");
    }
}
