//! A disk without a byte left, under the blobs, under the database, or under both: pushes are refused as such, reads go on,
//! deletes and the collector still free room, and pushes succeed again without a restart.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::client::{Client, Trouble};
use crate::disk::{Depth, blob_files, inspect};
use crate::report::Report;
use crate::run::Run;
use crate::server::Setup;
use crate::tmpfs::Tmpfs;
use crate::verify::verify;
use crate::work::Worker;

/// Room for the reserve, for what is pushed first, and some to fill.
const SIZE: &str = "32m";
const IMAGES: usize = 10;
/// Pushes that may still find room in what the database's log already has.
const MOST_PUSHES: usize = 300;
const ROUNDS: usize = 6;
/// Within this time the collector takes what was let go, and room that is there is used.
const PATIENCE: Duration = Duration::from_secs(20);

/// What lies on the small disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Small {
    Blobs,
    Database,
    Both,
}

/// What one disk is filled with and asked.
struct Story<'a> {
    run: &'a Run,
    report: &'a mut Report,
    small: Small,
    setup: Setup,
    disk: Tmpfs,
    worker: Worker,
    client: Client,
}

/// Runs the suite.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Result<(), String> {
    for small in [Small::Blobs, Small::Database, Small::Both] {
        let name = small.name();
        if run.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let disk = Tmpfs::mount(&run.home.join(format!("{name}.small")), SIZE)?;
        let mut setup = run.setup(name);
        match small {
            Small::Blobs => setup.root = disk.path().join("data"),
            Small::Database => setup.state = disk.path().join("data"),
            Small::Both => {
                setup.root = disk.path().join("data");
                setup.state = setup.root.clone();
            }
        }
        setup.more = "gc: {enabled: true, grace: 0s, lease: 500ms, interval: 100ms}\n".to_owned();
        let server = setup.start().await?;
        let client = server.client().map_err(told)?;
        let mut worker = Worker::new("client", &run.random.part(name));
        worker.largest = 400_000;
        worker.half_lease = Duration::from_millis(250);
        worker.ledger().collected = true;
        let mut story = Story {
            run,
            report,
            small,
            setup,
            disk,
            worker,
            client,
        };
        story.fill().await?;
        story.delete_and_fill().await;
        server.kill().await;
        let server = match story.setup.start().await {
            Ok(server) => server,
            Err(reason) => {
                story.says("a server starts without a byte left", &[reason]);
                continue;
            }
        };
        story.client = server.client().map_err(told)?;
        story.says("a server starts without a byte left", &[""; 0]);
        story.delete_and_fill().await;
        story.free().await?;
        let mut ledger = story.worker.ledger().clone();
        let Story { setup, disk, .. } = story;
        server.kill().await;
        let server = setup.start().await?;
        let client = server.client().map_err(told)?;
        let mut problems = verify(&client, &mut ledger).await;
        problems.extend(
            inspect(&setup, &client, Depth::AfterFailures)
                .await
                .problems,
        );
        report.holds(
            &format!("{name}: after a kill everything acknowledged is there"),
            &problems,
        );
        server.stop().await?;
        drop(disk);
    }
    Ok(())
}

impl Story<'_> {
    /// Pushes, takes the rest of the disk away, and pushes and reads again.
    async fn fill(&mut self) -> Result<(), String> {
        let repository = self.worker.repository();
        for _ in 0..IMAGES {
            self.worker
                .push_image(&self.client, &repository)
                .await
                .map_err(told)?;
        }
        self.disk.fill().map_err(|error| error.to_string())?;
        let refused = self.push_until_refused().await;
        let wanted = match &refused {
            Some(Trouble::Failed(answer)) => {
                let fault = answer.fault(&self.run.home);
                let wrong = (answer.status != 507).then(|| answer.to_string());
                wrong.or(fault).into_iter().collect()
            }
            Some(trouble) => vec![trouble.to_string()],
            None => vec!["every push found room".to_owned()],
        };
        self.says(
            "without a byte left a push is 507, with a code and without a path",
            &wanted,
        );
        let mut ledger = self.worker.ledger().clone();
        let read = verify(&self.client, &mut ledger).await;
        self.says("reads go on", &read);
        *self.worker.ledger() = ledger;
        Ok(())
    }

    /// Deletes a tag and pushes until the disk is full again, several times: what makes deletes possible is not used up.
    async fn delete_and_fill(&mut self) {
        let repository = self.worker.repository();
        let mut refused = Vec::new();
        for _ in 0..ROUNDS {
            // What was refused for want of room before must not hide that a tag is there.
            refused.extend(
                self.worker
                    .delete_tag(&self.client, &repository)
                    .await
                    .err(),
            );
            drop(self.push_until_refused().await);
            if let Err(error) = self.disk.fill() {
                refused.push(Trouble::Wrong(error.to_string()));
            }
        }
        self.says(
            "tags are deleted and the room is taken again, several times",
            &refused,
        );
    }

    /// Deletes nearly all, waits for the collector, and pushes into what that freed and into what others free.
    async fn free(&mut self) -> Result<(), String> {
        let repository = self.worker.repository();
        let free = self.disk.free();
        let files = blob_files(&self.setup.root);
        let mut refused = Vec::new();
        for _ in 0..IMAGES * 3 {
            if self.worker.ledger().manifests(&repository).len() <= 2 {
                break;
            }
            refused.extend(
                self.worker
                    .delete_manifest(&self.client, &repository)
                    .await
                    .err(),
            );
        }
        refused.extend(
            self.worker
                .delete_tag(&self.client, &repository)
                .await
                .err(),
        );
        refused.extend(
            self.worker
                .delete_blob(&self.client, &repository)
                .await
                .err(),
        );
        self.says(
            "without a byte left tags, manifests and blobs are deleted",
            &refused,
        );

        let begun = Instant::now();
        let collected = |story: &Self| {
            let fewer = blob_files(&story.setup.root) + IMAGES <= files;
            let more_room = story.small == Small::Database || story.disk.free() > free + 200_000;
            fewer && more_room
        };
        while !collected(self) && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
        let now = (blob_files(&self.setup.root), self.disk.free());
        let left = (!collected(self))
            .then(|| format!("{files} files and {free} bytes free before, {now:?} after"));
        self.says(
            "without a byte left the collector frees room",
            left.as_slice(),
        );

        if self.small != Small::Database {
            self.worker.largest = 20_000;
            let pushed = self.push_within().await;
            self.says(
                "what it freed is pushed into, with the disk full otherwise",
                pushed.as_slice(),
            );
        }
        self.disk.empty().map_err(|error| error.to_string())?;
        self.worker.largest = 400_000;
        let pushed = self.push_within().await;
        self.says(
            "with room again pushes succeed without a restart",
            pushed.as_slice(),
        );
        Ok(())
    }

    /// Pushes until one does not succeed.
    async fn push_until_refused(&mut self) -> Option<Trouble> {
        let repository = self.worker.repository();
        for _ in 0..MOST_PUSHES {
            if let Err(trouble) = self.worker.push_image(&self.client, &repository).await {
                return Some(trouble);
            }
        }
        None
    }

    /// Pushes as clients do, which try again; returns the last refusal if that took too long.
    async fn push_within(&mut self) -> Option<Trouble> {
        let repository = self.worker.repository();
        let begun = Instant::now();
        loop {
            match self.worker.push_image(&self.client, &repository).await {
                Ok(()) => return None,
                Err(trouble) if begun.elapsed() > PATIENCE => return Some(trouble),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn says(&mut self, sentence: &str, problems: &[impl std::fmt::Display]) {
        let name = self.small.name();
        self.report.holds(&format!("{name}: {sentence}"), problems);
    }
}

impl Small {
    fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Database => "database",
            Self::Both => "both",
        }
    }
}

fn told(trouble: Trouble) -> String {
    trouble.to_string()
}
