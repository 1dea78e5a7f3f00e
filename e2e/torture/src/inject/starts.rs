//! A disk that fails once while a server starts: it ends in order and says why, or it serves. Either way the next start finds
//! everything.

use crate::disk::{Depth, inspect};
use crate::faults::{Class, Errno};
use crate::ledger::Ledger;
use crate::report::Report;
use crate::run::Run;
use crate::server::Setup;
use crate::verify::verify;
use crate::work::Worker;

const IMAGES: usize = 4;
/// Failures of one class and error that are tried, spread over the calls of a start.
const MOST: u64 = 6;

/// Runs the part.
pub(super) async fn run(run: &Run, report: &mut Report) -> Result<(), String> {
    let setup = run.setup("starts");
    let mut worker = Worker::new("client", &run.random.part("starts"));
    let told = |trouble: crate::client::Trouble| trouble.to_string();
    let server = setup.start().await?;
    let client = server.client().map_err(told)?;
    let repository = worker.repository();
    for _ in 0..IMAGES {
        worker
            .push_image(&client, &repository)
            .await
            .map_err(told)?;
    }
    server.kill().await;

    let (mut served, mut ended, mut problems) = (0, 0, Vec::new());
    for class in Class::ALL {
        let calls = calls(run, &setup, class).await?;
        for errno in [Errno::Io, Errno::NoSpace] {
            let step = calls.div_ceil(MOST).max(1);
            let mut n = 1 + run.random.part(class.name()).between(0, step);
            while n <= calls {
                let what = format!("{}:{n}:{}", class.name(), errno.number());
                match setup.start_with(&run.faults, &what, &setup.root).await {
                    Ok(server) => {
                        served += 1;
                        server.kill().await;
                    }
                    Err(reason) if reason.contains("exit status: 1") => ended += 1,
                    Err(reason) => problems.push(format!("{what}: {reason}")),
                }
                let ledger = worker.ledger().clone();
                let lost = everything(&setup, ledger).await?;
                problems.extend(lost.into_iter().map(|lost| format!("after {what}: {lost}")));
                n += step;
            }
        }
    }
    report.holds(
        &format!(
            "a call that fails while the server starts: {ended} starts ended in order, {served} served, and the next one lost nothing"
        ),
        &problems,
    );
    Ok(())
}

/// Returns how many calls of `class` a start makes after a kill.
async fn calls(run: &Run, setup: &Setup, class: Class) -> Result<u64, String> {
    let never = format!("{}:{}:{}", class.name(), i64::MAX, Errno::Io.number());
    let server = setup.start_with(&run.faults, &never, &setup.root).await?;
    let faults = server.faults.as_ref().ok_or("it was started with faults")?;
    let calls = faults.told().await?.calls;
    server.kill().await;
    Ok(calls)
}

/// Starts a server on a sound disk and returns what is not there.
async fn everything(setup: &Setup, mut ledger: Ledger) -> Result<Vec<String>, String> {
    let server = setup.start().await?;
    let client = server.client().map_err(|trouble| trouble.to_string())?;
    let mut problems = verify(&client, &mut ledger).await;
    problems.extend(inspect(setup, &client, Depth::Whole).await.problems);
    server.kill().await;
    Ok(problems)
}
