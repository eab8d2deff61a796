//! The past of a series as pictures: round trips as dots of braille, and a strip of what was up and down.

use lapwing_api::monitors::BucketShape;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    symbols::Marker,
    widgets::{
        Widget,
        canvas::{Canvas, Context, Line as Stroke},
    },
};

use super::pen::{Ink, Line};

/// From the fastest to the slowest answer of each bucket, and a line through their means. The scale begins at zero.
pub(super) fn latency(buckets: &[BucketShape], highest: f64, place: Rect, ink: Ink, buffer: &mut Buffer) {
    let color = ink.chart().fg.unwrap_or_default();
    Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, buckets.len().saturating_sub(1).max(1) as f64])
        .y_bounds([0.0, if highest > 0.0 { highest } else { 1.0 }])
        .paint(|canvas| {
            let mut before: Option<(f64, f64)> = None;
            for (at, bucket) in buckets.iter().enumerate() {
                let x = at as f64;
                if let (Some(min), Some(max)) = (bucket.min_ms, bucket.max_ms) {
                    stroke(canvas, (x, min), (x, max), color);
                }
                let mean = bucket.mean_ms.map(|mean| (x, mean));
                if let (Some(before), Some(mean)) = (before, mean) {
                    stroke(canvas, before, mean, color);
                }
                // Where nothing was asked, the line goes on; where nobody answered, it breaks.
                if mean.is_some() || bucket.checks > 0 {
                    before = mean;
                }
            }
        })
        .render(place, buffer);
}

fn stroke(canvas: &mut Context<'_>, from: (f64, f64), to: (f64, f64), color: ratatui::style::Color) {
    canvas.draw(&Stroke::new(from.0, from.1, to.0, to.1, color));
}

/// The slowest answer.
pub(super) fn highest(buckets: &[BucketShape]) -> f64 {
    buckets
        .iter()
        .filter_map(|bucket| bucket.max_ms)
        .fold(0.0, f64::max)
}

/// A cell for each two buckets.
pub(super) fn strip(buckets: &[BucketShape], line: &mut Line<'_>, ink: Ink) {
    for pair in buckets.chunks(2) {
        let (mark, style) = cell(pair, ink);
        line.put(mark, style);
    }
}

fn cell(buckets: &[BucketShape], ink: Ink) -> (&'static str, Style) {
    let sum = |part: fn(&BucketShape) -> u32| buckets.iter().map(|b| u64::from(part(b))).sum::<u64>();
    let (checks, down, ours) = (sum(|b| b.checks), sum(|b| b.down), sum(|b| b.inconclusive));
    match (checks, down) {
        (0, _) => ("·", ink.faint()),
        (checks, 0) if checks == ours => ("?", ink.state("inconclusive")),
        (_, 0) if sum(|b| b.lost) > 0 => ("▓", ink.state("degraded")),
        (_, 0) => ("█", ink.state("up")),
        (checks, down) if down + ours >= checks => ("x", ink.state("down")),
        _ => ("▒", ink.state("down")),
    }
}

/// `3 of 1,440 checks failed, 0.21%`, and what answers took.
pub(super) fn figures(buckets: &[BucketShape]) -> String {
    let sum = |part: fn(&BucketShape) -> u32| buckets.iter().map(|b| u64::from(part(b))).sum::<u64>();
    let checks = sum(|b| b.checks);
    if checks == 0 {
        return "nothing was checked".to_owned();
    }
    let grouped = |count: u64| super::view::grouped(count as usize);
    let mut text = format!("{} checks, {} failed", grouped(checks), grouped(sum(|b| b.down)));
    let (sent, lost) = (sum(|b| b.sent), sum(|b| b.lost));
    if sent > 0 {
        text += &format!(", {:.2}% lost", lost as f64 * 100.0 / sent as f64);
    }
    let ours = sum(|b| b.inconclusive);
    if ours > 0 {
        text += &format!(", {} inconclusive", grouped(ours));
    }
    text
}
