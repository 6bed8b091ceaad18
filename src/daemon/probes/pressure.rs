//! How long work stands still for want of processor, memory or disk, as the
//! kernel has averaged it.

use std::io::ErrorKind;

use super::outcome::Trouble;
use crate::config::work::probe::{Percent, PressureProbe, Stalled};

/// In words what it is. The kernel answers at once.
pub(super) fn probe(probe: &PressureProbe) -> Result<String, Trouble> {
    let path = format!("/proc/pressure/{}", probe.resource.name());
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Trouble::Failed(match error.kind() {
            ErrorKind::NotFound | ErrorKind::Unsupported => format!(
                "this kernel tells no pressure: {path} is not there; it may take `psi=1` at boot"
            ),
            _ => format!("{path} cannot be read: {error}"),
        })
    })?;
    judge(&text, probe)
}

fn judge(text: &str, probe: &PressureProbe) -> Result<String, Trouble> {
    let (stalled, average) = (probe.stalled.name(), probe.average.key());
    let line = text.lines().find(|line| line.starts_with(stalled));
    let mut words = line.into_iter().flat_map(str::split_whitespace);
    let value = words.find_map(|word| word.strip_prefix(average)?.strip_prefix('='));
    let now = value.and_then(hundredths).ok_or_else(|| {
        let what = format!("the kernel tells no `{stalled} {average}` of this pressure");
        Trouble::Failed(what)
    })?;
    let who = match probe.stalled {
        Stalled::Some => "some work",
        Stalled::Full => "all work",
    };
    let (now, above) = (Percent(now), probe.above);
    let told = format!(
        "{who} stood still for {} {now} of the last {}",
        probe.resource.name(),
        probe.average.name()
    );
    match now > above {
        true => Err(Trouble::Failed(format!("{told}, and {above} is the limit"))),
        false => Ok(told),
    }
}

/// `12.34` as 1234.
fn hundredths(value: &str) -> Option<u16> {
    let (whole, rest) = value.split_once('.')?;
    let whole: u16 = whole.parse().ok()?;
    let rest: u16 = rest.get(..2)?.parse().ok()?;
    whole.checked_mul(100)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::work::probe::{Average, Resource};

    const TEXT: &str = "some avg10=12.34 avg60=5.00 avg300=0.07 total=123\n\
                        full avg10=1.50 avg60=0.00 avg300=0.00 total=7\n";

    fn told(text: &str, stalled: Stalled, average: Average, above: u16) -> Result<String, String> {
        let probe = PressureProbe {
            resource: Resource::Memory,
            stalled,
            average,
            above: Percent(above),
        };
        judge(text, &probe).map_err(|trouble| match trouble {
            Trouble::Failed(why) => why,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_kernels_lines_are_read_and_compared() {
        use Average::{FiveMinutes, Minute, TenSeconds};
        assert_eq!(
            told(TEXT, Stalled::Some, TenSeconds, 1234),
            Ok("some work stood still for memory 12.34% of the last 10s".to_owned())
        );
        assert_eq!(
            told(TEXT, Stalled::Some, TenSeconds, 1233),
            Err(
                "some work stood still for memory 12.34% of the last 10s, and 12.33% is the limit"
                    .to_owned()
            )
        );
        assert!(told(TEXT, Stalled::Full, TenSeconds, 100).is_err());
        assert!(told(TEXT, Stalled::Full, Minute, 1).is_ok());
        assert!(told(TEXT, Stalled::Some, FiveMinutes, 6).is_err());
        assert!(told(TEXT, Stalled::Some, FiveMinutes, 7).is_ok());
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_said() {
        for text in ["", "some", "some avg10=x.yy", "some avg10=1", "\u{e9}"] {
            assert!(
                told(text, Stalled::Some, Average::TenSeconds, 1).is_err(),
                "{text}"
            );
        }
        let only_some = TEXT.lines().next().expect("a line");
        let told = told(only_some, Stalled::Full, Average::TenSeconds, 1);
        assert_eq!(
            told,
            Err("the kernel tells no `full avg10` of this pressure".to_owned())
        );
    }
}
