//! What is shown, in its order.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::probe::{Client, HostNumber, Survey};
use super::say;
use super::stage::{HOSTS, Host, Stage, VIRTUAL_ADDRESS};

/// How long a steady state is watched.
const STEADY: Duration = Duration::from_millis(1_500);

/// Beyond what the protocol needs, before the story is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at who answers.
const LOOK: Duration = Duration::from_millis(5);

/// Between two questions to an agent.
const ASK: Duration = Duration::from_millis(50);

/// Of a configuration that says nothing else.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

const FIRST: usize = 0;
const SECOND: usize = 1;

struct Teller {
    started: Instant,
}

impl Teller {
    fn tell(&self, line: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        say(&format!("{seconds:6.2} s  {line}"));
    }
}

/// Tells the story to its end. Errors: the address did not move or did not
/// come back, or the stage failed.
pub async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let [first, second] = &HOSTS;
    say(&format!(
        "Two hosts ({}, {}) and a client in network namespaces of this machine; nothing outside \
         is touched.\nThe virtual address is {VIRTUAL_ADDRESS}, the priorities are {} and {}, the \
         advertisement interval is {} ms.\n",
        first.name,
        second.name,
        first.priority,
        second.priority,
        stage.interval.as_millis(),
    ));
    let teller = Teller {
        started: Instant::now(),
    };
    stage.start_agents()?;
    teller.tell("both hosts are up, each with an agent of its own");
    wait_for_roles(stage).await?;
    teller.tell(&format!(
        "{} is active, {} is backup",
        first.name, second.name
    ));

    let client = stage.start_client()?;
    teller.tell("the client sends a probe to the address every millisecond");
    let steady = watch_steady(&teller, stage, &client).await?;
    let cut = cut_off(&teller, stage, &client).await?;
    let back = come_back(&teller, stage, &client).await?;
    let stop = stop_planned(&teller, stage, &client).await?;
    drop(client);

    say("\nWhat the client noticed:");
    for (what, survey) in [
        ("all is well", steady),
        ("host cut off", cut),
        ("host back, preempts", back),
        ("agent stopped as planned", stop),
    ] {
        say(&format!("  {what:<26}{}", words(survey)));
    }
    say(&format!(
        "\nThe address moved and came back. At the default interval of 1 s a host that falls \
         silent is replaced after {}.",
        takeover(DEFAULT_INTERVAL, second.priority)
    ));
    Ok(())
}

async fn wait_for_roles(stage: &mut Stage) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE + stage.interval * 4;
    loop {
        let states = [stage.state(FIRST)?, stage.state(SECOND)?];
        if states.each_ref().map(Option::as_deref) == [Some("active"), Some("backup")] {
            return Ok(());
        }
        if Instant::now() > deadline {
            let [first, second] = states.map(|state| state.unwrap_or("silent".to_owned()));
            bail!(
                "no election: {} is {first}, {} is {second}; expected were active and backup",
                HOSTS[FIRST].name,
                HOSTS[SECOND].name
            );
        }
        tokio::time::sleep(ASK).await;
    }
}

async fn watch_steady(
    teller: &Teller,
    stage: &mut Stage,
    client: &Client,
) -> anyhow::Result<Survey> {
    let from = Instant::now();
    answered_by(stage, client, from, FIRST, PATIENCE).await?;
    // The first probes wait for address resolution; they are not the subject.
    let from = Instant::now();
    tokio::time::sleep(STEADY).await;
    let survey = client.survey(from, settled());
    let name = HOSTS[FIRST].name;
    teller.tell(&format!("{name} answers: {}", words(survey)));
    Ok(survey)
}

async fn cut_off(teller: &Teller, stage: &mut Stage, client: &Client) -> anyhow::Result<Survey> {
    let (name, other) = (HOSTS[FIRST].name, HOSTS[SECOND].name);
    let from = Instant::now();
    stage.plug(&stage.hosts[FIRST], false)?;
    teller.tell(&format!("{name} is cut off: its switch port is down"));
    let patience = stage.interval * 4 + PATIENCE;
    answered_by(stage, client, from, SECOND, patience).await?;
    let gap = millis(client.survey(from, Instant::now()).gap_max);
    let expected = takeover(stage.interval, HOSTS[SECOND].priority);
    teller.tell(&format!(
        "{other} answers: the address was away for {gap} ms ({expected} were to be expected)"
    ));
    finish(teller, client, from).await
}

async fn come_back(teller: &Teller, stage: &mut Stage, client: &Client) -> anyhow::Result<Survey> {
    let name = HOSTS[FIRST].name;
    let from = Instant::now();
    stage.plug(&stage.hosts[FIRST], true)?;
    teller.tell(&format!("{name} is back: its switch port is up"));
    let patience = stage.interval * 4 + PATIENCE;
    answered_by(stage, client, from, FIRST, patience).await?;
    teller.tell(&format!(
        "{name} answers again: its priority is the higher one"
    ));
    finish(teller, client, from).await
}

async fn stop_planned(
    teller: &Teller,
    stage: &mut Stage,
    client: &Client,
) -> anyhow::Result<Survey> {
    let (name, other) = (HOSTS[FIRST].name, HOSTS[SECOND].name);
    let from = Instant::now();
    teller.tell(&format!("the agent on {name} is stopped (SIGTERM)"));
    let status = stage.hosts[FIRST].stop().await?;
    if !status.success() {
        bail!("the agent on {name} stopped with {status}");
    }
    answered_by(stage, client, from, SECOND, PATIENCE).await?;
    teller.tell(&format!("{other} answers"));
    finish(teller, client, from).await
}

/// Watches some time longer, and says what it cost.
async fn finish(teller: &Teller, client: &Client, from: Instant) -> anyhow::Result<Survey> {
    tokio::time::sleep(STEADY).await;
    let survey = client.survey(from, settled());
    teller.tell(&format!("the client: {}", words(survey)));
    Ok(survey)
}

/// Waits until this host answers.
async fn answered_by(
    stage: &mut Stage,
    client: &Client,
    since: Instant,
    which: usize,
    patience: Duration,
) -> anyhow::Result<()> {
    let wanted = HOSTS.get(which).context("no such host")?;
    let deadline = Instant::now() + patience;
    loop {
        let last = client.last_answer().filter(|(_, at)| *at > since);
        let last: Option<HostNumber> = last.map(|(host, _)| host);
        if last == Some(wanted.number) {
            return Ok(());
        }
        stage.hosts.iter_mut().try_for_each(Host::still_runs)?;
        if Instant::now() > deadline {
            let seconds = patience.as_secs_f64();
            let by = HOSTS.iter().find(|host| Some(host.number) == last);
            let by = by.map_or("nobody", |host| host.name);
            bail!(
                "the address did not move: after {seconds:.1} s {by} answers the client, not {}",
                wanted.name
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The latest moment whose probes must have been answered by now.
fn settled() -> Instant {
    let on_their_way = Duration::from_millis(50);
    Instant::now()
        .checked_sub(on_their_way)
        .unwrap_or_else(Instant::now)
}

/// From the last advertisement 3 intervals and the skew pass (RFC 9568
/// section 6.1); the host is cut off up to one interval after it.
fn takeover(interval: Duration, priority: u8) -> String {
    let skew = interval * (256 - u32::from(priority)) / 256;
    let [least, most] = [2, 3].map(|intervals| millis(interval * intervals + skew));
    format!("{least} to {most} ms")
}

fn millis(span: Duration) -> String {
    format!("{:.0}", span.as_secs_f64() * 1_000.0)
}

fn words(survey: Survey) -> String {
    let Survey {
        sent,
        lost,
        gap_max,
    } = survey;
    let gap = gap_max.as_secs_f64() * 1_000.0;
    format!("{lost} of {sent} probes lost, longest silence {gap:.1} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_silence_is_the_protocol_s() {
        // RFC 9568 section 6.1: priority 100 at 1 s waits for 3.609 s.
        assert_eq!(takeover(DEFAULT_INTERVAL, 100), "2609 to 3609 ms");
        assert_eq!(takeover(Duration::from_millis(200), 100), "522 to 722 ms");
    }
}
