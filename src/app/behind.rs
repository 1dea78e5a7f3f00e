//! What runs behind the listeners. Where a Distribution registry stored something that was never adopted, that is done
//! first, while the listeners tell how far it is; whatever stops it, the next start goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metadata::Metadata;
use tokio::task::JoinHandle;

use super::adoption::Adoption;
use crate::content::{self, Background, Content, ImportReport};
use crate::jobs::{self, Jobs};
use crate::registry::Preparation;

/// How long to wait before a failed import is tried again, at first and at most.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often the log tells how far an import is.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Things that cannot be used and are told in the log one by one.
const LOGGED: usize = 20;

/// What runs behind the listeners.
pub(super) enum Behind {
    /// Everything.
    Running(Running),
    /// An import, and then everything.
    Preparing(JoinHandle<Running>),
}

/// The parts, running.
pub(super) struct Running {
    background: Background,
    runner: jobs::Running,
}

/// What it takes to start them.
pub(super) struct Starter {
    pub(super) content: Arc<Content>,
    pub(super) metadata: Metadata,
    pub(super) jobs: Jobs,
    pub(super) adoption: Adoption,
    /// Told for as long as requests are to be refused.
    pub(super) preparation: Preparation,
}

impl Starter {
    /// Looks whether there is something to import, and tells so before anybody can ask.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub(super) async fn look(&self) -> anyhow::Result<()> {
        if content::is_unimported(&self.adoption.root, &self.metadata).await? {
            self.preparation.tell(progress(&ImportReport::default()));
        }
        Ok(())
    }

    /// Starts everything, after the import if there is one; returns at once in any case.
    pub(super) async fn start(self) -> Behind {
        if self.preparation.check().is_ok() {
            return Behind::Running(self.run().await);
        }
        tracing::info!(
            "importing what a Distribution registry stored here; requests are answered when it is done"
        );
        Behind::Preparing(tokio::spawn(async move {
            adopt(&self.adoption, &self.metadata, &self.preparation).await;
            let running = self.run().await;
            self.preparation.end();
            running
        }))
    }

    async fn run(&self) -> Running {
        Running {
            background: Background::start(&self.content),
            runner: self.jobs.run().await,
        }
    }
}

impl Behind {
    /// Puts the jobs back, and breaks an import off.
    pub(super) async fn stop_jobs(self) -> Option<Background> {
        let Running { background, runner } = match self {
            Self::Running(running) => running,
            Self::Preparing(task) => {
                task.abort();
                // An error means that it was broken off.
                task.await.ok()?
            }
        };
        runner.stop().await;
        Some(background)
    }
}

/// Imports, and tries again until it succeeds.
async fn adopt(adoption: &Adoption, metadata: &Metadata, preparation: &Preparation) {
    let mut pause = RETRY_PAUSE.0;
    loop {
        let mut logged = Instant::now();
        let mut told = |report: &ImportReport| {
            let progress = progress(report);
            if logged.elapsed() >= LOG_PAUSE {
                tracing::info!("{progress}");
                logged = Instant::now();
            }
            preparation.tell(progress);
        };
        match adoption.import(metadata, false, &mut told).await {
            Ok(report) => return log(adoption, &report),
            Err(error) => {
                tracing::error!(%error, "could not import what a Distribution registry stored here; trying again");
                preparation.tell("importing what another registry stored here failed and is tried again; the log says why".to_owned());
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE.1);
    }
}

fn progress(report: &ImportReport) -> String {
    let ImportReport {
        repositories,
        tags,
        manifests,
        blobs,
        ..
    } = report;
    format!(
        "importing what another registry stored here: {blobs} blobs, {repositories} repositories, {manifests} manifests, {tags} tags so far"
    )
}

fn log(adoption: &Adoption, report: &ImportReport) {
    tracing::info!(
        repositories = report.repositories,
        tags = report.tags,
        manifests = report.manifests,
        blobs = report.blobs,
        "imported what a Distribution registry stored here"
    );
    for unusable in report.unusable.iter().take(LOGGED) {
        tracing::warn!(path = unusable.path, reason = unusable.reason, "not usable");
    }
    let count = report.unusable_count();
    if count > 0 {
        tracing::warn!(
            count,
            "some of it could not be used, and nothing of its repositories is collected; `seawall import --dry-run {}` lists all of it",
            adoption.root.display()
        );
    }
    if let Some(warning) = adoption.warning() {
        tracing::warn!("{warning}");
    }
}
