//! The table: a row a figure, the median of several runs, its spread, and its ratio to another row of the same run.

use std::collections::BTreeMap;

use crate::processes::Failed;

/// What one run of a figure gives: messages a second.
pub(crate) type Rate = f64;

type Run<'a> = &'a mut dyn FnMut() -> Result<Rate, Failed>;

pub(crate) struct Table {
    runs: u32,
    only: String,
    medians: BTreeMap<String, Rate>,
}

impl Table {
    pub(crate) fn new(runs: u32, only: &str) -> Self {
        Self { runs, only: only.to_owned(), medians: BTreeMap::new() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    pub(crate) fn head(&self) {
        println!("messages of {} bytes, {} runs a row, messages/s", crate::MESSAGE_BYTES, self.runs);
        println!("{:<48}{:>12}{:>12}{:>12}   ratio", "", "median", "least", "most");
    }

    /// One figure, beside the median of the row `of` where that was measured.
    pub(crate) fn row(
        &mut self,
        name: &str,
        of: Option<&str>,
        mut run: impl FnMut() -> Result<Rate, Failed>,
    ) -> Result<(), Failed> {
        if !self.wants(name) {
            return Ok(());
        }
        let rates = (0..self.runs).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
        self.print(name, of, rates);
        Ok(())
    }

    /// Two figures whose runs take turns; the second one's ratio is to the first.
    pub(crate) fn pairs(&mut self, names: [&str; 2], runs: [Run<'_>; 2]) -> Result<(), Failed> {
        let [first, second] = names;
        let [run_first, run_second] = runs;
        if !self.wants(first) && !self.wants(second) {
            return Ok(());
        }
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            firsts.push(run_first()?);
            seconds.push(run_second()?);
        }
        self.print(first, None, firsts);
        self.print(second, Some(first), seconds);
        Ok(())
    }

    fn print(&mut self, name: &str, of: Option<&str>, mut rates: Vec<Rate>) {
        rates.sort_by(f64::total_cmp);
        let at = |index: usize| rates.get(index).copied().unwrap_or_default();
        let median = at(rates.len() / 2);
        let ratio = of.and_then(|of| self.medians.get(of).map(|other| format!("{:.2} x {of}", median / other)));
        let (least, most) = (at(0), at(rates.len().saturating_sub(1)));
        println!("{name:<48}{median:>12.0}{least:>12.0}{most:>12.0}   {}", ratio.unwrap_or_default());
        self.medians.insert(name.to_owned(), median);
    }
}
