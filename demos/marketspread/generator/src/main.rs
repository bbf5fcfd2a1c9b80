//! `generate-marketspread`: writes FIX quotes and orders of invented companies to files.

mod args;

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;
use generate_marketspread::{BUILT_IN_SYMBOLS, Symbols, SymbolsError, write_mixed, write_nbbo, write_trades};

use args::Args;

const OUT_BUFFER_BYTES: usize = 1 << 18;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            // Nobody is left to tell if stderr is closed.
            let _ = io::stderr().write_all(format!("error: {stop}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Stop> {
    let symbols = read_symbols(args.symbols.as_deref())?;
    if let Some(path) = &args.nbbo_out {
        write_to(path, |out| write_nbbo(&symbols, args.seed, args.nbbo, out))?;
    }
    if let Some(path) = &args.trades_out {
        write_to(path, |out| write_trades(&symbols, args.seed, args.trades, out))?;
    }
    if let (Some(path), Some(orders_per_quote)) = (&args.mixed_out, args.orders_per_quote) {
        write_to(path, |out| write_mixed(&symbols, args.seed, args.nbbo, orders_per_quote, out))?;
    }
    Ok(())
}

fn read_symbols(path: Option<&Path>) -> Result<Symbols, Stop> {
    let Some(path) = path else {
        return Symbols::read(BUILT_IN_SYMBOLS.as_bytes())
            .map_err(|error| Stop::Symbols { path: "the program".into(), error });
    };
    let read = File::open(path).map_err(SymbolsError::Read).and_then(Symbols::read);
    read.map_err(|error| Stop::Symbols { path: path.to_owned(), error })
}

/// Writes to the file at `path`, or to stdout where that is `-`. A reader of stdout who has seen enough is no failure.
fn write_to(path: &Path, write: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<()>) -> Result<(), Stop> {
    let to_stdout = path == Path::new("-");
    let failed = |error| Stop::Write { path: path.to_owned(), error };
    let target: Box<dyn Write> =
        if to_stdout { Box::new(io::stdout().lock()) } else { Box::new(File::create(path).map_err(failed)?) };
    let mut out = BufWriter::with_capacity(OUT_BUFFER_BYTES, target);
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if to_stdout && error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(failed),
    }
}

/// Why it could not be done.
#[derive(Debug)]
enum Stop {
    Symbols { path: PathBuf, error: SymbolsError },
    Write { path: PathBuf, error: io::Error },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbols { path, error } => write!(f, "cannot read companies from {}: {error}", path.display()),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}
