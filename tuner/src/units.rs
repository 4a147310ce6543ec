//! Sizes, rates and durations as people write them.
//!
//! `KiB`, `MiB` and `GiB` are powers of 1024, `kB`, `MB` and `GB` powers of 1000. `KB` means the
//! one to some and the other to others (1024 in the paper), so it is refused.

use crate::Error;

const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
];
const SIZE_NAMES: &str = "B, KiB, MiB, GiB, kB, MB, GB";

const RATES: &[(&str, f64)] = &[
    ("B/s", 1.0),
    ("KiB/s", 1024.0),
    ("MiB/s", 1024.0 * 1024.0),
    ("GiB/s", 1024.0 * 1024.0 * 1024.0),
    ("kB/s", 1e3),
    ("MB/s", 1e6),
    ("GB/s", 1e9),
    ("bit/s", 1.0 / 8.0),
    ("kbit/s", 1e3 / 8.0),
    ("Mbit/s", 1e6 / 8.0),
    ("Gbit/s", 1e9 / 8.0),
];
const RATE_NAMES: &str = "KiB/s, MiB/s, kB/s, MB/s, kbit/s, Mbit/s, Gbit/s";

const DURATIONS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9)];
const DURATION_NAMES: &str = "ns, us, ms, s, min";

/// Bytes of a size such as `2MiB`, rounded to whole bytes.
///
/// # Errors
/// The unit is unknown or missing, or the number negative or not finite.
pub fn bytes(text: &str) -> Result<u64, Error> {
    // Above 2^53 an f64 no longer counts single bytes.
    let value = quantity(text, "size", SIZES, SIZE_NAMES)?;
    if value > 9e15 {
        return Err(Error::Range { text: text.into(), quantity: "size", must_be: "under 9 PB" });
    }
    Ok(value.round() as u64)
}

/// Bytes per second of a rate such as `250KiB/s` or `2Mbit/s`; at least 1.
///
/// # Errors
/// The unit is unknown or missing, or the rate below one byte a second or not finite.
pub fn rate(text: &str) -> Result<f64, Error> {
    let value = quantity(text, "rate", RATES, RATE_NAMES)?;
    if value < 1.0 {
        let must_be = "at least one byte a second";
        return Err(Error::Range { text: text.into(), quantity: "rate", must_be });
    }
    Ok(value)
}

/// Nanoseconds of a duration such as `20ms`; not negative.
///
/// # Errors
/// The unit is unknown or missing, or the number negative or not finite.
pub fn nanoseconds(text: &str) -> Result<f64, Error> {
    quantity(text, "duration", DURATIONS, DURATION_NAMES)
}

/// A size for people, in units of 1024: `68.3 KiB`.
pub fn show_bytes(bytes: u64) -> String {
    scaled(bytes as f64, &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0)])
}

/// A rate for people, in units of 1024: `250.0 KiB/s`.
pub fn show_rate(bytes_per_s: f64) -> String {
    format!("{}/s", show_bytes(bytes_per_s.round() as u64))
}

/// A duration for people: `20.0 ms`.
pub fn show_nanoseconds(ns: f64) -> String {
    scaled(ns, &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)])
}

fn quantity(
    text: &str,
    quantity: &'static str,
    table: &[(&str, f64)],
    units: &'static str,
) -> Result<f64, Error> {
    let unknown = || Error::Unit { text: text.into(), quantity, units };
    let word = text.trim();
    // The unit begins at the first letter that is not an exponent's.
    let unit_at = word
        .char_indices()
        .find(|&(i, c)| {
            let exponent = matches!(c, 'e' | 'E')
                && word[i + 1..].starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
            !(exponent || c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))
        })
        .map_or(word.len(), |(i, _)| i);
    let (number, unit) = word.split_at(unit_at);
    let unit = unit.trim();
    let number: f64 = number.parse().map_err(|_| unknown())?;
    let (_, factor) = table.iter().find(|(name, _)| *name == unit).ok_or_else(unknown)?;
    let value = number * factor;
    if !value.is_finite() || value < 0.0 {
        let must_be = "finite and not negative";
        return Err(Error::Range { text: text.into(), quantity, must_be });
    }
    Ok(value)
}

/// `value` in the largest unit that leaves at least one, with one digit behind the point.
fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let (name, factor) =
        units.iter().rev().find(|(_, factor)| value >= *factor).unwrap_or(&units[0]);
    if *factor == 1.0 {
        format!("{value:.0} {name}")
    } else {
        format!("{:.1} {name}", value / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rates_and_durations_are_read_in_their_units() {
        assert_eq!(bytes("0B").unwrap(), 0);
        assert_eq!(bytes("2MiB").unwrap(), 2 << 20);
        assert_eq!(bytes(" 1.5 KiB ").unwrap(), 1536);
        assert_eq!(bytes("3kB").unwrap(), 3000);
        assert_eq!(rate("250KiB/s").unwrap(), 256_000.0);
        assert_eq!(rate("2Mbit/s").unwrap(), 250_000.0);
        assert_eq!(rate("1e3 B/s").unwrap(), 1000.0);
        assert_eq!(nanoseconds("20ms").unwrap(), 20e6);
        assert_eq!(nanoseconds("0.5s").unwrap(), 5e8);
        assert_eq!(nanoseconds("0ms").unwrap(), 0.0);
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_the_units() {
        for text in ["", "KiB/s", "250", "250KB/s", "250 furlongs", "1..2KiB/s", "--1KiB/s", "2MiB"]
        {
            let message = rate(text).unwrap_err().to_string();
            assert!(message.contains("Mbit/s") && message.contains(text), "{message}");
        }
        for text in ["inf KiB/s", "NaNB/s", "1e400KiB/s", "-3KiB/s", "0KiB/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(matches!(nanoseconds("-1ms"), Err(Error::Range { .. })));
        assert!(matches!(bytes("1e30GiB"), Err(Error::Range { .. })));
        assert!(matches!(bytes("12KB"), Err(Error::Unit { .. })));
        assert!(matches!(rate("2µ"), Err(Error::Unit { .. })));
    }

    #[test]
    fn quantities_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show_bytes(999), "999 B");
        assert_eq!(show_bytes(69_984), "68.3 KiB");
        assert_eq!(show_rate(256_000.0), "250.0 KiB/s");
        assert_eq!(show_nanoseconds(20e6), "20.0 ms");
        assert_eq!(show_nanoseconds(0.0), "0 ns");
    }
}
