//! Kills while clients pull through a mirror whose cache is too small for what they pull, so that fills and evictions never
//! end. Another Seawall is the upstream.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Cycles, moment};
use crate::client::{Client, Trouble};
use crate::content::{self, Content};
use crate::disk::{Depth, inspect};
use crate::random::Random;
use crate::run::Run;

const CLIENTS: usize = 4;
const IMAGES: u64 = 8;
const LAYER: u64 = 700_000;
const KILL_WITHIN: Duration = Duration::from_millis(600);
const REPOSITORY: &str = "team/app";

/// Runs the part.
pub(super) async fn run(run: &Run, random: &Random, cycles: usize) -> Result<Cycles, String> {
    let mut random = random.part("mirror");
    let told = |trouble: Trouble| trouble.to_string();
    let upstream = run.setup("upstream").start().await?;
    let client = upstream.client().map_err(told)?;
    let mut images = Vec::new();
    for at in 0..IMAGES {
        let layers = (0..3)
            .map(|_| content::layer(random.bytes(LAYER)))
            .collect();
        let image = content::image(&format!("image {at}"), layers);
        for blob in &image.blobs {
            client.upload(REPOSITORY, blob, 1).await.map_err(told)?;
        }
        let pushed = client.push(REPOSITORY, &image, &format!("v{at}")).await;
        pushed
            .and_then(|answer| answer.expect(&[201]))
            .map_err(told)?;
        images.push(image);
    }
    let images = Arc::new(images);

    let mut setup = run.setup("mirror");
    setup.more = format!(
        "cache: {{maxsize: 8MB, minfree: 0}}\nmirrors:\n  - {{name: up.test, endpoints: ['http://{}'], default: true}}\n",
        upstream.address
    );
    let mut result = Cycles::default();
    loop {
        let server = setup.start().await?;
        if result.count > 0 {
            result.restarts.push(server.ready_after);
        }
        let client = server.client().map_err(told)?;
        let found = inspect(&setup, &client, Depth::Whole).await;
        result.add(found.problems);
        result.extra = found.extra;
        if result.count == cycles {
            for at in 0..images.len() {
                result.add(
                    pull(&client, &images, at)
                        .await
                        .err()
                        .map(told)
                        .into_iter()
                        .collect(),
                );
            }
            server.stop().await?;
            result.add(setup.fsck().await);
            upstream.stop().await?;
            return Ok(result);
        }
        let mut pulling = JoinSet::new();
        for at in 0..CLIENTS {
            let random = random.part(&format!("{} {at}", result.count));
            pulling.spawn(work(client.clone(), Arc::clone(&images), random));
        }
        sleep(moment(&mut random, (Duration::ZERO, KILL_WITHIN))).await;
        server.kill().await;
        result.count += 1;
        while let Some(ended) = pulling.join_next().await {
            if let Trouble::Broken(_) = ended.as_ref().map_err(ToString::to_string)? {
                continue;
            }
            let wrong = ended.map_err(|error| error.to_string())?;
            result.add(vec![wrong.to_string()]);
        }
    }
}

/// Pulls one image after the other until something fails.
async fn work(client: Client, images: Arc<Vec<Arc<Content>>>, mut random: Random) -> Trouble {
    loop {
        let at = usize::try_from(random.between(0, IMAGES)).unwrap_or_default();
        if let Err(trouble) = pull(&client, &images, at).await {
            return trouble;
        }
    }
}

async fn pull(client: &Client, images: &[Arc<Content>], at: usize) -> Result<(), Trouble> {
    let path = format!("/v2/up.test/{REPOSITORY}");
    let same = |what: &str, got: &[u8], wanted: &Content| {
        let is_same = got == wanted.bytes.as_ref();
        is_same
            .then_some(())
            .ok_or_else(|| Trouble::Wrong(format!("{what} serves other bytes")))
    };
    let image = &images[at];
    let tag = format!("{path}/manifests/v{at}");
    let manifest = client.get(&tag).await?.expect(&[200])?;
    same(&tag, &manifest.body, image)?;
    for blob in &image.blobs {
        let path = format!("{path}/blobs/{}", blob.digest);
        let got = client.get(&path).await?.expect(&[200])?;
        same(&path, &got.body, blob)?;
    }
    Ok(())
}
