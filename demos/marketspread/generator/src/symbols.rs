//! The companies: a CSV file with the columns `symbol,price,spread,name`.
//!
//! Prices and spreads are plain decimal numbers with at most four places. A symbol without a spread is never quoted,
//! only ordered.

use std::{
    collections::HashMap,
    fmt,
    io::{self, BufRead as _, BufReader, Read},
};

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::line::Money;

/// The project's own companies.
pub const BUILT_IN_SYMBOLS: &str = include_str!("../../symbols.csv");

const COLUMNS: [&str; 4] = ["symbol", "price", "spread", "name"];

/// The companies that orders name, and those of them that are quoted; there is at least one of either.
#[derive(Debug)]
pub struct Symbols {
    all: Vec<Company>,
    quoted: Vec<(Company, Money)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Company {
    pub(crate) symbol: String,
    pub(crate) price: Money,
    pub(crate) name: String,
}

impl Symbols {
    /// Reads the CSV. Blank lines do not matter; a field stays on its line.
    pub fn read(source: impl Read) -> Result<Self, SymbolsError> {
        let mut symbols = Self { all: Vec::new(), quoted: Vec::new() };
        let mut lines = HashMap::new();
        for (line, bytes) in (1..).zip(BufReader::new(source).split(b'\n')) {
            let bytes = bytes.map_err(SymbolsError::Read)?;
            let taken = match fields(&bytes) {
                Ok(columns) if line == 1 => {
                    if columns == COLUMNS[..] {
                        Ok(())
                    } else {
                        Err(Fault::Columns)
                    }
                }
                Ok(record) => symbols.take(&record, line, &mut lines),
                Err(fault) => Err(fault),
            };
            taken.map_err(|fault| SymbolsError::Line { line, fault })?;
        }
        if symbols.quoted.is_empty() { Err(SymbolsError::NothingQuoted) } else { Ok(symbols) }
    }

    fn take(&mut self, record: &StringRecord, line: u64, lines: &mut HashMap<String, u64>) -> Result<(), Fault> {
        let mut fields = record.iter();
        let (Some(symbol), Some(price), Some(spread), Some(name), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return if record.is_empty() { Ok(()) } else { Err(Fault::Ragged { fields: record.len() }) };
        };
        let company =
            Company { symbol: text("symbol", symbol)?, price: money("price", price)?, name: text("name", name)? };
        if let Some(first) = lines.insert(company.symbol.clone(), line) {
            return Err(Fault::Repeated { symbol: company.symbol, first });
        }
        if !spread.is_empty() {
            let spread = money("spread", spread)?;
            // A quarter more of it around 98 % of the price must leave a bid above 0.
            if spread >= company.price {
                return Err(Fault::WideSpread);
            }
            self.quoted.push((company.clone(), spread));
        }
        self.all.push(company);
        Ok(())
    }

    pub(crate) fn all(&self) -> &[Company] {
        &self.all
    }

    pub(crate) fn quoted(&self) -> &[(Company, Money)] {
        &self.quoted
    }
}

/// The element at `place`, which is below the length of `list`.
#[expect(clippy::indexing_slicing, reason = "the places are drawn below the length of lists that are never empty")]
pub(crate) fn pick<T>(list: &[T], place: u64) -> &T {
    &list[usize::try_from(place).unwrap_or_default()]
}

/// The fields of one line; none where it is blank.
fn fields(line: &[u8]) -> Result<StringRecord, Fault> {
    let mut record = StringRecord::new();
    let mut reader = ReaderBuilder::new().has_headers(false).trim(Trim::All).from_reader(line);
    // Any bytes in memory are CSV; only the text may be none.
    reader.read_record(&mut record).map_err(|_| Fault::NotText)?;
    Ok(record)
}

/// What stands in a FIX field and on a line of its own must hold none of the bytes that end either.
fn text(column: &'static str, value: &str) -> Result<String, Fault> {
    let fits = !value.is_empty() && !value.contains(|c: char| c.is_control() || matches!(c, '=' | '"'));
    if fits { Ok(value.to_owned()) } else { Err(Fault::BadText { column, value: value.to_owned() }) }
}

fn money(column: &'static str, value: &str) -> Result<Money, Fault> {
    Money::parse(value).filter(|money| money.0 > 0).ok_or_else(|| Fault::BadNumber { column, value: value.to_owned() })
}

/// Why a file names no companies.
#[derive(Debug)]
pub enum SymbolsError {
    /// The file cannot be read.
    Read(io::Error),
    /// A line of it is wrong.
    Line {
        /// The line's number; the first is 1.
        line: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// No line has a spread.
    NothingQuoted,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The first line names other columns.
    Columns,
    /// The line has more or fewer fields than there are columns.
    Ragged {
        /// How many it has.
        fields: usize,
    },
    /// The line is not UTF-8.
    NotText,
    /// Empty, or with a byte that FIX has another use for.
    BadText {
        /// The column's name.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// Not a plain decimal number above 0.
    BadNumber {
        /// The column's name.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// The spread is not below the price.
    WideSpread,
    /// The symbol has a line already.
    Repeated {
        /// The symbol.
        symbol: String,
        /// The number of its first line.
        first: u64,
    },
}

impl fmt::Display for SymbolsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Line { line, fault } => write!(f, "line {line}: {fault}"),
            Self::NothingQuoted => write!(f, "no line has a spread, so there is nothing to quote"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns => write!(f, "the columns must be {}", COLUMNS.join(",")),
            Self::Ragged { fields } => write!(f, "{fields} fields where {} are needed", COLUMNS.len()),
            Self::NotText => write!(f, "not UTF-8 text"),
            Self::BadText { column, value } => {
                write!(f, "{column} {value:?} must be text without '=', quotes and control characters")
            }
            Self::BadNumber { column, value } => {
                write!(
                    f,
                    "{column} {value:?} must be a decimal number above 0, such as 48.25, with at most four places"
                )
            }
            Self::WideSpread => write!(f, "the spread must be below the price"),
            Self::Repeated { symbol, first } => write!(f, "symbol {symbol} stands on line {first} already"),
        }
    }
}

impl std::error::Error for SymbolsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(csv: impl AsRef<[u8]>, expected: Result<(usize, usize), &str>) {
        let read = Symbols::read(csv.as_ref()).map(|symbols| (symbols.all.len(), symbols.quoted.len()));
        let read = read.map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{}", csv.as_ref().escape_ascii());
    }

    #[test]
    fn built_in_companies_are_forty_with_three_never_quoted() {
        check(BUILT_IN_SYMBOLS, Ok((40, 37)));
    }

    #[test]
    fn blanks_and_line_ends_do_not_matter() {
        check("symbol,price,spread,name\r\n A , 1.5 , 0.1 ,\" A, the first \"\r\n\r\nB,2,,B", Ok((2, 1)));
    }

    #[test]
    fn faults_name_their_line() {
        let number = "must be a decimal number above 0, such as 48.25, with at most four places";
        let text = "must be text without '=', quotes and control characters";
        for (lines, fault) in [
            ("A,1,0.1", "line 2: 3 fields where 4 are needed"),
            ("A,1,0.1,Name,more", "line 2: 5 fields where 4 are needed"),
            ("A,1,0.1,Name\nB,1", "line 3: 2 fields where 4 are needed"),
            ("A,1,0.1,Name\n\n\nB,x,0.1,Name", &format!("line 5: price \"x\" {number}")),
            ("A,1,0.1,Name\nB,,0.1,Name", &format!("line 3: price \"\" {number}")),
            ("A,0,0.1,Name", &format!("line 2: price \"0\" {number}")),
            ("A,1,-0.1,Name", &format!("line 2: spread \"-0.1\" {number}")),
            ("A,1,nan,Name", &format!("line 2: spread \"nan\" {number}")),
            (",1,0.1,Name", &format!("line 2: symbol \"\" {text}")),
            ("A=B,1,0.1,Name", &format!("line 2: symbol \"A=B\" {text}")),
            ("A,1,0.1,\"two\nlines\"", "line 3: 1 fields where 4 are needed"),
            ("A,1,0.1,a\u{1}b", &format!("line 2: name \"a\\u{{1}}b\" {text}")),
            ("A,1,1,Name", "line 2: the spread must be below the price"),
            ("A,1,0.1,Name\nB,1,,Name\nA,1,0.1,Name", "line 4: symbol A stands on line 2 already"),
            ("A,1,,Name", "no line has a spread, so there is nothing to quote"),
            ("", "no line has a spread, so there is nothing to quote"),
        ] {
            check(format!("symbol,price,spread,name\n{lines}\n"), Err(fault));
        }
    }

    #[test]
    fn other_files_are_refused() {
        let columns = "line 1: the columns must be symbol,price,spread,name";
        check("", Err("no line has a spread, so there is nothing to quote"));
        check("A,1,0.1,Name\n", Err(columns));
        check("symbol;price;spread;name\n", Err(columns));
        check(b"symbol,price,spread,name\nA,1,0.1,\xff\n", Err("line 2: not UTF-8 text"));
        check(b"\x1f\x8b\x08\x00\xff\xfe", Err("line 1: not UTF-8 text"));
    }
}
