//! Numbers with units, three digits or so.

/// Milliseconds below ten seconds, else seconds: `<0.01 ms`, `0.42 ms`, `12.3 ms`, `1,230 ms`, `12.3 s`.
pub(crate) fn time(ns: u64) -> String {
    if (1..5_000).contains(&ns) {
        return "<0.01 ms".into();
    }
    let ms = ns as f64 / 1e6;
    if ms >= 10_000.0 { format!("{} s", digits(ms / 1000.0)) } else { format!("{} ms", digits(ms)) }
}

/// Bytes, KiB or MiB: `96 B`, `2.25 KiB`, `233 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let (value, unit) = binary(count as f64);
    if unit.is_empty() { format!("{count} B") } else { format!("{} {unit}B", digits(value)) }
}

/// Bytes per second: `250 KiB/s`.
pub(crate) fn rate(bytes_per_s: f64) -> String {
    let (value, unit) = binary(bytes_per_s);
    format!("{} {unit}B/s", trimmed(value))
}

/// The same in the unit that links are sold in: `2.05 Mbit/s`, `839 Mbit/s`.
pub(crate) fn rate_in_bits(bytes_per_s: f64) -> String {
    format!("{} Mbit/s", digits(bytes_per_s * 8.0 / 1e6))
}

/// Per cent of a count: `96.3 %`.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn binary(value: f64) -> (f64, &'static str) {
    match value {
        v if v < 1024.0 => (v, ""),
        v if v < 1024.0 * 1024.0 => (v / 1024.0, "Ki"),
        v if v < 1024.0 * 1024.0 * 1024.0 => (v / 1024.0 / 1024.0, "Mi"),
        v => (v / 1024.0 / 1024.0 / 1024.0, "Gi"),
    }
}

/// Three digits, more where the whole part has more.
fn digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v if v < 999.5 => format!("{v:.0}"),
        v => {
            let whole = v.round() as u64;
            format!("{},{:03}", whole / 1000, whole % 1000)
        }
    }
}

/// [`digits`] without zeros behind the point.
fn trimmed(value: f64) -> String {
    let text = digits(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_their_unit() {
        assert_eq!(time(0), "0.00 ms");
        assert_eq!(time(800), "<0.01 ms");
        assert_eq!(time(420_000), "0.42 ms");
        assert_eq!(time(9_996_000), "10.0 ms");
        assert_eq!(time(1_234_000_000), "1,234 ms");
        assert_eq!(time(12_340_000_000), "12.3 s");
        assert_eq!(bytes(96), "96 B");
        assert_eq!(bytes(2_304), "2.25 KiB");
        assert_eq!(bytes(243_860_896), "233 MiB");
        assert_eq!(rate(256_000.0), "250 KiB/s");
        assert_eq!(rate(2.5 * 1024.0 * 1024.0), "2.5 MiB/s");
        assert_eq!(rate_in_bits(256_000.0), "2.05 Mbit/s");
        assert_eq!(percent(231, 240), "96.2 %");
    }
}
