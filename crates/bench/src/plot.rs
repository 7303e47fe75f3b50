//! Plots as SVG; both axes of quantities are logarithmic, since what is compared differs by orders of magnitude.

use crate::document::folder_of;
use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

const SIZE: (u32, u32) = (960, 420);
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(255, 127, 14), RGBColor(44, 160, 44), RGBColor(140, 140, 140)];

/// For each group one bar of each series: middle, lowest, highest.
pub struct Bars<'a> {
    pub title: &'a str,
    pub groups: &'a [String],
    pub series: BTreeMap<String, Vec<(f64, f64, f64)>>,
}

/// Where nothing is above zero there is nothing to plot.
fn bounds(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let positive = values.filter(|v| *v > 0.0);
    let low = positive.clone().fold(f64::INFINITY, f64::min);
    let high = positive.fold(0.0, f64::max);
    (high > 0.0).then_some((low, high))
}

pub fn bars(file: &Path, bars: &Bars<'_>) -> Result<()> {
    folder_of(file)?;
    let values = bars.series.values().flatten().map(|v| v.0);
    let Some((low, high)) = bounds(values) else { return Ok(()) };
    let (low, high) = (low / 2.0, high * 2.0);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = || -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(bars.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..bars.groups.len() as f64, (low..high).log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().x_labels(0).y_label_formatter(&|y| short(*y)).draw()?;
        let width = 0.8 / bars.series.len() as f64;
        for (n, (name, values)) in bars.series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let at = |group: usize| group as f64 + 0.1 + n as f64 * width;
            let bar = |(group, v): (usize, &(f64, f64, f64))| {
                Rectangle::new([(at(group), low), (at(group) + width * 0.92, v.0.max(low))], colour.filled())
            };
            chart
                .draw_series(values.iter().enumerate().map(bar))?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
            let spread = |(group, v): (usize, &(f64, f64, f64))| {
                let x = at(group) + width * 0.46;
                PathElement::new([(x, v.1.max(low)), (x, v.2.max(low))], BLACK)
            };
            chart.draw_series(values.iter().enumerate().map(spread))?;
            let written = |(group, v): (usize, &(f64, f64, f64))| {
                Text::new(short(v.0), (at(group), v.0.max(low) * 1.35), ("sans-serif", 11))
            };
            chart.draw_series(values.iter().enumerate().map(written))?;
        }
        let below = low * 0.8;
        let name = |(n, group): (usize, &String)| Text::new(group.clone(), (n as f64 + 0.1, below), ("sans-serif", 12));
        let area = chart.plotting_area();
        for label in bars.groups.iter().enumerate().map(name) {
            area.draw(&label)?;
        }
        legend(&mut chart)?;
        Ok(root.present()?)
    };
    drawn().map_err(|e| anyhow!("{}: {e}", file.display()))
}

/// A quantity against what grows.
pub struct Lines<'a> {
    pub title: &'a str,
    pub grows: &'a str,
    pub series: BTreeMap<String, Vec<(f64, f64)>>,
}

pub fn lines(file: &Path, lines: &Lines<'_>) -> Result<()> {
    folder_of(file)?;
    let points = lines.series.values().flatten();
    let Some((left, right)) = bounds(points.clone().map(|p| p.0)) else { return Ok(()) };
    let Some((low, high)) = bounds(points.map(|p| p.1)) else { return Ok(()) };
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = || -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(lines.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((left..right * 1.01).log_scale(), (low / 2.0..high * 8.0).log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(lines.grows)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (n, (name, points)) in lines.series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        }
        legend(&mut chart)?;
        Ok(root.present()?)
    };
    drawn().map_err(|e| anyhow!("{}: {e}", file.display()))
}

/// One part of a whole against another, both from nothing; the horizontal one only to `x_max`.
pub struct Shares<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    pub x_max: f64,
}

/// Name, steps from left to right, and the one point that is marked.
pub type Steps = (String, Vec<(f64, f64)>, (f64, f64));

pub fn shares(file: &Path, shares: &Shares<'_>, series: &[Steps]) -> Result<()> {
    folder_of(file)?;
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let percent = |v: &f64| format!("{} %", trimmed(v * 100.0));
    let drawn = || -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(shares.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..shares.x_max, 0.0..1.0)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(shares.x).y_desc(shares.y).x_label_formatter(&percent).y_label_formatter(&percent).draw()?;
        for (n, (name, steps, marked)) in series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(staircase(steps, shares.x_max), colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
            if marked.0 <= shares.x_max {
                chart.draw_series([Circle::new(*marked, 5, colour.filled())])?;
            }
        }
        legend(&mut chart)?;
        Ok(root.present()?)
    };
    drawn().map_err(|e| anyhow!("{}: {e}", file.display()))
}

/// What costs more brings more only from there on.
fn staircase(steps: &[(f64, f64)], x_max: f64) -> Vec<(f64, f64)> {
    let (mut line, mut height): (Vec<(f64, f64)>, f64) = (Vec::new(), 0.0);
    for (x, y) in steps.iter().take_while(|(x, _)| *x <= x_max) {
        line.extend([(*x, height), (*x, *y)]);
        height = *y;
    }
    line.push((x_max, height));
    line
}

fn legend<'a, X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> Result<(), Box<dyn std::error::Error>> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(|e| e.to_string().into())
}

/// `3.4`, `120`, `12k`.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", trimmed(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [0.034, 0.5, 3.456, 42.0, 318.7, 3200.0, 12_345.0, 10_000_000.0].map(short).into();
        assert_eq!(shown, ["0.034", "0.5", "3.46", "42", "319", "3200", "12.3k", "10M"]);
    }

    #[test]
    fn steps_stop_at_the_edge() {
        let line = staircase(&[(0.0, 0.0), (0.0, 0.4), (0.02, 0.6), (0.9, 1.0)], 0.05);
        assert_eq!(line[2..], [(0.0, 0.0), (0.0, 0.4), (0.02, 0.4), (0.02, 0.6), (0.05, 0.6)]);
    }

    #[test]
    fn plots_hold_what_was_measured() {
        let dir = std::env::temp_dir().join(format!("bench-plot-{}", std::process::id()));
        let file = dir.join("x.svg");
        let series = BTreeMap::from([("a".to_owned(), vec![(1.0, 5.0), (1000.0, 7.0)])]);
        lines(&file, &Lines { title: "of <x>", grows: "messages", series }).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(svg.contains("of &lt;x&gt;") && svg.contains("messages") && svg.contains("<polyline"));
    }
}
