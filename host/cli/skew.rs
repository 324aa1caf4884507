//! `lockgate skew`: every version of a cluster, and what the version skew policy says about it. Reads only.

use super::args::{SkewArgs, SkewFormat};
use super::target::{cluster, example};
use super::{Done, host, interrupt};
use crate::base::{Error, Result, Version};
use crate::cluster::{Access, Cancel};
use crate::primitives::skew::{self, Assumed, Report};
use crate::report::{Screen, json, skew as told};

/// The exit code when something is unknown and nothing is wrong.
const UNKNOWN: u8 = 3;
/// The exit code when a rule is broken.
const VIOLATION: u8 = 5;

/// Prints the report.
///
/// # Errors
/// What was wrong with the words or the target; the cluster cannot be reached.
pub(super) fn skew(args: &SkewArgs, screen: &Screen) -> Done {
    let target = args.to.as_deref().map(Version::parse).transpose().map_err(|error| error.context("`--target` cannot be used"))?;
    let assumed = assumed(&args.assume)?;
    let runtime = host::runtime()?;
    let cancel = Cancel::new();
    let (cluster, about) = cluster(&runtime, &args.target, &example()?, &cancel)?;
    about.iter().for_each(|line| screen.talk(line));
    cluster.set_access(Access::ReadOnly);
    interrupt::listen(&cancel)?;
    let report: Report = runtime.block_on(async {
        let mut readings = skew::read(&cluster).await?;
        readings.add(skew::kubectl(&cluster).await?);
        readings.add(skew::own(&cluster, &readings)?);
        skew::report(readings, target.as_ref(), &assumed)
    })?;
    let label = cluster.label();
    let name = if label.simulated { format!("{} (simulated)", label.name) } else { label.name };
    match args.output {
        SkewFormat::Text => screen.data(&told::text(&report, &name, screen.paint)),
        SkewFormat::Markdown => screen.data(&told::markdown(&report, &name)),
        SkewFormat::Json => screen.data(&json::skew(&report, &name)?),
    }
    Ok(match (report.violations.is_empty(), report.unknown.is_empty()) {
        (false, _) => VIOLATION,
        (true, false) => UNKNOWN,
        (true, true) => 0,
    })
}

/// Reads `COMPONENT[/NODE]=VERSION`.
fn assumed(words: &[String]) -> Result<Assumed> {
    let mut all = Assumed::new();
    for word in words {
        let Some((key, version)) = word.split_once('=') else {
            return Err(Error::usage(format!("`--assume {word}` has no version")).hint("write `--assume kubelet/w1=v1.30.2`"));
        };
        let version = Version::parse(version).map_err(|error| error.context(format!("`--assume {word}` cannot be used")))?;
        if all.insert(key.to_owned(), version).is_some() {
            return Err(Error::usage(format!("`--assume {key}` is given twice")));
        }
    }
    Ok(all)
}
