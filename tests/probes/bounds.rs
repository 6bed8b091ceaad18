//! One result for each order, never too many at once, and a clean end.

use super::*;

/// What is accepted by `start` and the results for it: all of them, once.
fn collect(results: &mut mpsc::Receiver<(JobId, JobResult)>, count: u64) -> Vec<JobResult> {
    let mut ids = BTreeSet::new();
    let mut all = Vec::new();
    for _ in 0..count {
        let (id, result) = results.blocking_recv().expect("a result");
        assert!(ids.insert(id), "{id:?} came twice");
        all.push(result);
    }
    assert_eq!(ids, (0..count).map(JobId).collect());
    std::thread::sleep(Duration::from_millis(50));
    assert!(results.try_recv().is_err(), "one too many");
    all
}

#[test]
fn every_order_has_one_result_also_when_nobody_reads_them_for_a_while() {
    let address = pages(|_, _| page("200 OK", ""));
    // Room for one result: the probes wait for their reader.
    let (sender, mut results) = mpsc::channel(1);
    let probes = Probes::start(sender).expect("the thread");
    let good = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: ENOUGH,
    });
    let bad = Arc::new(tcp(closed(), ENOUGH));
    let count = u64::try_from(UNDER_WAY_MAX).expect("a number");
    for id in 0..count {
        let probe = Arc::clone(if id % 2 == 0 { &good } else { &bad });
        probes.submit(JobId(id), probe).expect("room");
    }
    std::thread::sleep(Duration::from_millis(200));
    let all = collect(&mut results, count);
    let passed = all.iter().filter(|one| one.verdict == Verdict::Passed);
    assert_eq!(passed.count(), UNDER_WAY_MAX / 2);
    let failed = all
        .iter()
        .filter(|one| matches!(&one.verdict, Verdict::Failed(why) if why.contains("refused")));
    assert_eq!(failed.count(), UNDER_WAY_MAX / 2);
}

/// Accepts everyone, answers no one, and counts who is there at once.
fn crowd() -> (SocketAddr, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let (now, seen) = (AtomicUsize::new(0), Arc::clone(&most));
    let address = serve(move |mut stream| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
        now.fetch_sub(1, Ordering::SeqCst);
    });
    (address, most)
}

/// Orders probes of `hung` until its thread takes no more; how many it took.
///
/// `full` says when as many are under way as may be: until then the queue is
/// only full for a moment.
fn fill(probes: &Probes, hung: &Arc<Probe>, full: impl Fn() -> bool) -> u64 {
    let deadline = Instant::now() + ENOUGH;
    let mut taken = 0;
    loop {
        let was_full = full();
        match probes.submit(JobId(taken), Arc::clone(hung)) {
            Ok(()) => taken += 1,
            Err((id, probe)) => {
                assert_eq!(id, JobId(taken), "the order is given back");
                assert_eq!(&probe, hung);
                if was_full {
                    return taken;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(
            Instant::now() < deadline,
            "not full after {taken} orders and {ENOUGH:?}"
        );
    }
}

#[test]
fn no_more_than_256_are_under_way_and_a_full_queue_refuses() {
    let (address, most) = crowd();
    let (sender, _results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    // None ends meanwhile: the server would still see it beside its successor.
    let hung = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: Duration::from_secs(600),
    });
    let taken = fill(&probes, &hung, || {
        most.load(Ordering::SeqCst) >= UNDER_WAY_MAX
    });
    let bound = UNDER_WAY_MAX + QUEUE_MAX;
    assert_eq!(usize::try_from(taken).expect("a number"), bound);
    assert_eq!(most.load(Ordering::SeqCst), UNDER_WAY_MAX);
}

#[test]
fn who_waited_longer_than_it_may_take_is_not_run() {
    let (address, _) = crowd();
    let (sender, mut results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    let hung = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: Duration::from_secs(2),
    });
    let taken = fill(&probes, &hung, || true);
    let taken_count = usize::try_from(taken).expect("a number");
    assert!(taken_count >= QUEUE_MAX, "{taken}");
    let all = collect(&mut results, taken);
    let count =
        |verdict: fn(&Verdict) -> bool| all.iter().filter(|one| verdict(&one.verdict)).count();
    let timed_out = count(|verdict| *verdict == Verdict::TimedOut);
    let not_run = count(|verdict| matches!(verdict, Verdict::NotRun(_)));
    assert_eq!(timed_out + not_run, taken_count);
    assert!(
        timed_out > 0 && not_run > 0,
        "{timed_out} timed out, {not_run} were not run"
    );
}

#[test]
fn stopping_does_not_wait_for_those_under_way() {
    let (address, most) = crowd();
    let (sender, mut results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    let hung = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: Duration::from_secs(60),
    });
    for id in 0..10 {
        probes.submit(JobId(id), Arc::clone(&hung)).expect("room");
    }
    while most.load(Ordering::SeqCst) < 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    drop(probes);
    assert!(started.elapsed() < ENOUGH);
    assert!(results.blocking_recv().is_none());
}

#[test]
fn without_a_reader_the_thread_ends_and_orders_are_refused() {
    let (sender, results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    drop(results);
    let probe = Arc::new(tcp(closed(), ENOUGH));
    let deadline = Instant::now() + ENOUGH;
    while probes.submit(JobId(1), Arc::clone(&probe)).is_ok() {
        assert!(Instant::now() < deadline, "it still takes orders");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_shortage_of_descriptors_is_not_blamed_on_the_service() {
    // A process of its own: the limit is the whole process's.
    const MARK: &str = "VIPWARD_TEST_FEW_DESCRIPTORS";
    let name = "bounds::a_shortage_of_descriptors_is_not_blamed_on_the_service";
    if std::env::var_os(MARK).is_none() {
        let exe = std::env::current_exe().expect("this test");
        let output = std::process::Command::new(exe)
            .args(["--exact", name, "--nocapture"])
            .env(MARK, "1")
            .output();
        let output = output.expect("to run");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let address = closed();
    let (sender, mut results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    let mut held = Vec::new();
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, 64, 64).expect("a limit");
    let error = loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => break error,
        }
    };
    assert_ne!(error.kind(), ErrorKind::NotFound);
    let probe = Arc::new(tcp(address, ENOUGH));
    probes.submit(JobId(1), probe).expect("room");
    let (_, result) = results.blocking_recv().expect("a result");
    let why = "this process has too many open files".to_owned();
    assert_eq!(result.verdict, Verdict::NotRun(why));
}
