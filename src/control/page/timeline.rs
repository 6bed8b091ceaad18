//! What happened, the latest first, day by day.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::shown;
use crate::control::events::record::Record;
use crate::control::events::story::{Step, Story};
use crate::control::render::Colour;

pub(super) fn section(events: &[Record]) -> Markup {
    let mut story = Story::new(Colour::Off);
    let mut steps: Vec<Step> = events.iter().flat_map(|event| story.steps(event)).collect();
    steps.reverse();
    let day = |step: &Step| {
        let time = step.time.to_zoned(TimeZone::UTC);
        time.strftime("%Y-%m-%d").to_string()
    };
    html! {
        section #events data-part hidden[steps.is_empty()] aria-labelledby="events-title" {
            h2 #events-title { "What happened" }
            @for of_day in steps.chunk_by(|one, next| day(one) == day(next)) {
                @if let Some(first) = of_day.first() {
                    h3 { (day(first)) " UTC" }
                }
                ol.line {
                    @for step in of_day { (entry(step)) }
                }
            }
        }
    }
}

/// A dot on the line, when, what, and how long after what came before.
fn entry(step: &Step) -> Markup {
    let time = step.time.to_zoned(TimeZone::UTC);
    let loud = matches!(step.level.as_str(), "warning" | "error");
    html! {
        li.(class(&step.level)) {
            time datetime=(step.time) { (time.strftime("%H:%M:%S%.3f").to_string()) }
            span.after { (step.delta) }
            span.who { (shown(&step.name)) }
            span.what {
                @if loud { span.level { (shown(&step.level)) } " " }
                (shown(&step.words))
            }
        }
    }
}

fn class(level: &str) -> &'static str {
    match level {
        "error" => "bad",
        "warning" => "waits",
        "detail" => "quiet",
        // Info, and what a newer agent may say.
        _ => "plain",
    }
}
