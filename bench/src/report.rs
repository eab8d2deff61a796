//! How long `lapwing report` takes over a data folder, in each format.

use std::path::Path;

use crate::{
    startup::{Measured, median},
    table,
};

const FORMATS: [&str; 5] = ["table", "classic", "csv", "json", "html"];

/// Prints the medians of `runs` reports of the last 365 days in each format.
pub(crate) fn run(folder: &Path, runs: usize, lapwing: &Path) -> anyhow::Result<()> {
    let data = folder.display().to_string();
    let of = |format: &str| {
        let args = ["report", "--last", "365d", "--data", &data, "--format", format];
        Measured::new(format, lapwing, &args)
    };
    let mut all = FORMATS.map(of);
    for _ in 0..runs {
        for measured in &mut all {
            measured.run()?;
        }
    }
    table::say(&table::head(&["format", "wall ms (median)", "CPU ms (median)"]))?;
    for measured in &mut all {
        let (wall, cpu) = (median(&mut measured.wall), median(&mut measured.cpu));
        table::say(&table::row(&[
            measured.name.clone(),
            format!("{:.0}", wall.as_secs_f64() * 1e3),
            format!("{:.0}", cpu.as_secs_f64() * 1e3),
        ]))?;
    }
    Ok(())
}
