//! The table: a row a figure, the median of several runs, its spread, and its ratio to other rows of the same run.

use std::collections::BTreeMap;

use crate::{latency::Latency, processes::Failed};

/// What one run of a figure gives: messages a second.
pub(crate) type Rate = f64;

/// A row to be: its name, the rows that its ratios are to, and its runs.
pub(crate) struct Row<'a, Figure = Rate> {
    pub(crate) name: &'a str,
    pub(crate) of: &'a [&'a str],
    pub(crate) run: Box<dyn FnMut() -> Result<Figure, Failed> + 'a>,
}

impl<'a, Figure> Row<'a, Figure> {
    pub(crate) fn new(name: &'a str, of: &'a [&'a str], run: impl FnMut() -> Result<Figure, Failed> + 'a) -> Self {
        Self { name, of, run: Box::new(run) }
    }
}

pub(crate) struct Table {
    runs: u32,
    only: Vec<String>,
    medians: BTreeMap<String, Rate>,
}

impl Table {
    pub(crate) fn new(runs: u32, only: &[String]) -> Self {
        Self { runs, only: only.to_vec(), medians: BTreeMap::new() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    pub(crate) fn head(&self) {
        println!("messages of {} bytes, {} runs a row, messages/s", crate::MESSAGE_BYTES, self.runs);
        println!("{:<48}{:>12}{:>12}{:>12}   ratio", "", "median", "least", "most");
    }

    /// One figure, beside the medians of the rows `of` where those were measured.
    pub(crate) fn row(
        &mut self,
        name: &str,
        of: &[&str],
        run: impl FnMut() -> Result<Rate, Failed>,
    ) -> Result<(), Failed> {
        if self.wants(name) { self.turns(vec![Row::new(name, of, run)]) } else { Ok(()) }
    }

    /// Several figures whose runs take turns, so that a slow minute is slow for all of them. All or none are measured.
    pub(crate) fn turns(&mut self, rows: Vec<Row<'_>>) -> Result<(), Failed> {
        if !rows.iter().any(|row| self.wants(row.name)) {
            return Ok(());
        }
        for (name, of, mut rates) in measured(self.runs, rows)? {
            rates.sort_by(f64::total_cmp);
            self.print(name, of, &rates);
        }
        Ok(())
    }

    fn print(&mut self, name: &str, of: &[&str], rates: &[Rate]) {
        let at = |index: usize| rates.get(index).copied().unwrap_or_default();
        let median = at(rates.len() / 2);
        let ratio = |of: &&str| self.medians.get(*of).map(|other| format!("{:.2} x {of}", median / other));
        let ratios: Vec<String> = of.iter().filter_map(ratio).collect();
        let (least, most) = (at(0), at(rates.len().saturating_sub(1)));
        println!("{name:<48}{median:>12.0}{least:>12.0}{most:>12.0}   {}", ratios.join(", "));
        self.medians.insert(name.to_owned(), median);
    }

    /// Latencies, whose runs take turns, each with its share of a core. Those that are not wanted are not measured.
    pub(crate) fn latencies(&self, head: &str, mut rows: Vec<Row<'_, Latency>>) -> Result<(), Failed> {
        rows.retain(|row| self.wants(row.name));
        if rows.is_empty() {
            return Ok(());
        }
        let columns = ["p50 us", "p99 us", "least p99", "most p99", "p99.9 us", "max us", "its CPU %"];
        println!("\n{head:<48}{}", columns.map(|column| format!("{column:>11}")).concat());
        for (name, _, figures) in measured(self.runs, rows)? {
            let sorted = |figure: fn(&Latency) -> f64| {
                let mut values: Vec<f64> = figures.iter().map(figure).collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let median = |values: Vec<f64>| values.get(values.len() / 2).copied().unwrap_or_default();
            let p99s = sorted(|figure| figure.p99_us);
            let [least, most] = [p99s.first(), p99s.last()].map(|p99| p99.copied().unwrap_or_default());
            let (p50, p99) = (median(sorted(|figure| figure.p50_us)), median(p99s));
            let (p999, max) = (median(sorted(|figure| figure.p999_us)), median(sorted(|figure| figure.max_us)));
            let cpu = median(sorted(|figure| figure.cpu_percent));
            let figures = [p50, p99, least, most, p999, max].map(|figure| format!("{figure:>11.0}")).concat();
            println!("{name:<48}{figures}{cpu:>11.1}");
        }
        Ok(())
    }
}

/// What each row has measured.
type Measured<'a, Figure> = (&'a str, &'a [&'a str], Vec<Figure>);

fn measured<'a, Figure>(runs: u32, mut rows: Vec<Row<'a, Figure>>) -> Result<Vec<Measured<'a, Figure>>, Failed> {
    let mut figures: Vec<Measured<'a, Figure>> = rows.iter().map(|row| (row.name, row.of, Vec::new())).collect();
    for _ in 0..runs {
        for (row, (_, _, figures)) in rows.iter_mut().zip(&mut figures) {
            figures.push((row.run)()?);
        }
    }
    Ok(figures)
}
