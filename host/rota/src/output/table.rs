//! Tables: aligned, without lines, as wide as the terminal.

use super::{bold, coloured, format, safe};
use comfy_table::{Cell as TableCell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use rota_contract::reports::Cell;

/// A table with a heading row. Columns whose cells are all numbers go to the right.
pub(crate) fn plain(columns: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = (0..columns.len())
        .map(|i| !rows.is_empty() && rows.iter().all(|row| row.get(i).is_some_and(|cell| numeric(cell))))
        .collect();
    render(columns, rows, &right)
}

fn numeric(cell: &str) -> bool {
    cell == "-"
        || (cell.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && cell.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '%'))
}

/// A table of a report.
pub(crate) fn report(table: &rota_contract::reports::Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|c| safe(c)).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let right: Vec<bool> = (0..columns.len())
        .map(|i| {
            table.rows.iter().any(|row| {
                matches!(
                    row.get(i),
                    Some(Cell::Integer(_) | Cell::Number(_) | Cell::Bytes(_) | Cell::Seconds(_) | Cell::Ratio(_))
                )
            })
        })
        .collect();
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    render(&names, &rows, &right)
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::None => "-".into(),
        Cell::Text(text) => coloured(&safe(text)),
        Cell::Integer(n) => format::integer(*n),
        // A small number is not none.
        Cell::Number(x) if *x != 0.0 && x.abs() < 0.01 => format!("{x:.2e}"),
        Cell::Number(x) => format!("{x:.2}"),
        Cell::Bytes(n) => format::bytes(*n),
        Cell::Seconds(s) => format::seconds(*s),
        Cell::Ratio(r) => format!("{:.1}%", r * 100.0),
        Cell::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
        Cell::Instant(micros) => format::instant(*micros),
    }
}

fn render(columns: &[&str], rows: &[Vec<String>], right: &[bool]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|name| TableCell::new(bold(name))));
    for row in rows {
        table.add_row(row.iter().map(TableCell::new));
    }
    for (index, right) in right.iter().enumerate() {
        if *right && let Some(column) = table.column_mut(index) {
            // Numbers are never wrapped; what is long is text, and shares the rest of the width.
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.to_string().lines().map(|line| format!("  {}", line.trim_end())).collect::<Vec<_>>().join("\n")
}
