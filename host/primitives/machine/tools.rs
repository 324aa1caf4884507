//! Package tools: what is asked of them, and how they answer.

use std::collections::BTreeMap;

use super::file::text;
use super::hand::Hand;
use crate::base::{Error, Kind, Reason, Result};

/// The format in which Debian tells installed packages.
const DEBIAN: &str = "${Package} ${db:Status-Status} ${Version}\\n";
/// The same for Red Hat.
const RED_HAT: &str = "%{NAME} installed %{VERSION}-%{RELEASE}\\n";

/// The families of package tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// `apt-get` and `dpkg`.
    Apt,
    /// `yum` or `dnf` (which has that name too), and `rpm`.
    Yum,
}

impl Tool {
    /// The tool of a machine, by its `/etc/os-release`.
    pub(super) async fn of(hand: &Hand) -> Result<Tool> {
        let release = text(hand, "/etc/os-release", false).await?.unwrap_or_default();
        tool(&release).ok_or_else(|| {
            let name = field(&release, "PRETTY_NAME").unwrap_or("an unknown system");
            let message = format!("packages on `{}`: it runs {name}, and only apt and yum are known here", hand.node);
            Error::new(Kind::Cluster, Reason::Unsupported, message)
                .about(format!("node/{}", hand.node))
                .hint("install what is needed with `machine.run`")
        })
    }

    /// The installed ones of these packages with their versions.
    pub(super) async fn installed(self, hand: &Hand, names: &[&str]) -> Result<BTreeMap<String, String>> {
        let head = match self {
            Tool::Apt => ["dpkg-query", "-W", "-f", DEBIAN],
            Tool::Yum => ["rpm", "-q", "--qf", RED_HAT],
        };
        // A person answers in one line: each package is a question of its own.
        let at_once = if hand.reached().is_some() { names.len().max(1) } else { 1 };
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for some in names.chunks(at_once) {
            let mut words = head.to_vec();
            words.extend(some);
            // Both end with an error when one is missing.
            let output = hand.output(&words, false).await?;
            known.extend(output.stdout.lines().filter_map(|line| {
                let mut parts = line.split_whitespace();
                let (name, state, version) = (parts.next()?, parts.next()?, parts.next()?);
                (state == "installed").then(|| (name.to_owned(), version.to_owned()))
            }));
        }
        known.retain(|name, _| names.contains(&name.as_str()));
        Ok(known)
    }

    /// The versions of a package that can be installed, newest first as the tool tells them.
    pub(super) async fn versions(self, hand: &Hand, name: &str) -> Result<Vec<String>> {
        let output = match self {
            Tool::Apt => hand.output(&["apt-cache", "madison", name], false).await?,
            Tool::Yum => hand.output(&["yum", "list", "--showduplicates", "--disableexcludes=all", "-q", name], false).await?,
        };
        Ok(match self {
            Tool::Apt => madison(&output.stdout, name),
            Tool::Yum => yum_list(&output.stdout, name),
        })
    }

    /// Which of these packages are held at their version.
    pub(super) async fn held(self, hand: &Hand, names: &[&str]) -> Result<Vec<String>> {
        if self == Tool::Yum {
            return Ok(Vec::new());
        }
        let told = hand.text(&["apt-mark", "showhold"], false).await?;
        Ok(told.lines().map(str::trim).filter(|name| names.contains(name)).map(str::to_owned).collect())
    }

    /// The words that look for new versions.
    pub(super) fn refresh(self) -> &'static [&'static str] {
        match self {
            Tool::Apt => &["apt-get", "-o", "DPkg::Lock::Timeout=600", "update"],
            Tool::Yum => &["yum", "makecache", "-q"],
        }
    }

    /// The words that install these versions, without a question.
    pub(super) fn install(self, wanted: &[(String, String)], back: bool) -> Vec<String> {
        let (head, sign): (&[&str], &str) = match self {
            Tool::Apt => (
                &[
                    "apt-get",
                    "install",
                    "-y",
                    "--allow-change-held-packages",
                    "--allow-downgrades",
                    "-o",
                    "Dpkg::Options::=--force-confdef",
                    "-o",
                    "Dpkg::Options::=--force-confold",
                    "-o",
                    "DPkg::Lock::Timeout=600",
                ],
                "=",
            ),
            Tool::Yum if back => (&["yum", "downgrade", "-y", "--disableexcludes=all"], "-"),
            Tool::Yum => (&["yum", "install", "-y", "--disableexcludes=all"], "-"),
        };
        let packages = wanted.iter().map(|(name, version)| format!("{name}{sign}{version}"));
        head.iter().map(|word| (*word).to_owned()).chain(packages).collect()
    }
}

fn field<'a>(release: &'a str, name: &str) -> Option<&'a str> {
    release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
}

fn tool(release: &str) -> Option<Tool> {
    let ids = [field(release, "ID"), field(release, "ID_LIKE")];
    ids.into_iter().flatten().flat_map(|ids| ids.split(' ')).find_map(|id| match id {
        "debian" | "ubuntu" => Some(Tool::Apt),
        "rhel" | "centos" | "fedora" | "rocky" | "almalinux" | "amzn" | "ol" | "openEuler" => Some(Tool::Yum),
        _ => None,
    })
}

/// `kubeadm | 1.19.16-00 | https://… Packages`
fn madison(told: &str, name: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for line in told.lines() {
        let mut parts = line.split('|').map(str::trim);
        if let (Some(package), Some(version)) = (parts.next(), parts.next())
            && package == name
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// `kubeadm.x86_64    1.19.16-0    kubernetes`, older ones first. An epoch (`1:2.3-4`) is not part of what is installed by name.
fn yum_list(told: &str, name: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for line in told.lines() {
        let mut parts = line.split_whitespace();
        if let (Some(package), Some(version), Some(_)) = (parts.next(), parts.next(), parts.next())
            && package.rsplit_once('.').is_some_and(|(package, _)| package == name)
        {
            let version = version.split_once(':').map_or(version, |(_, version)| version).to_owned();
            versions.retain(|known| *known != version);
            versions.insert(0, version);
        }
    }
    versions
}

/// Whether a version of a package is the one that is asked for: the same, or the same up to its revision (`1.30.2` is `1.30.2-1.1`).
pub(super) fn is_asked(version: &str, asked: &str) -> bool {
    version == asked || version.strip_prefix(asked).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_is_that_of_the_system_or_of_what_it_is_like() {
        assert_eq!(tool("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"), Some(Tool::Apt));
        assert_eq!(tool("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Some(Tool::Apt));
        assert_eq!(tool("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n"), Some(Tool::Yum));
        assert_eq!(tool("ID=flatcar\n"), None);
        assert_eq!(tool(""), None);
    }

    #[test]
    fn versions_are_read_as_the_tools_tell_them() {
        let told = "   kubeadm |  1.30.2-1.1 | https://a ./ Packages\n   kubeadm |  1.30.2-1.1 | https://b ./ Packages\n   kubeadm | 1.30.1-1.1 | x\n";
        assert_eq!(madison(told, "kubeadm"), ["1.30.2-1.1", "1.30.1-1.1"]);
        assert!(madison("N: Unable to locate package none\n", "none").is_empty());
        let told = "Installed Packages\nkubeadm.x86_64  1.18.4-0  @kubernetes\nAvailable Packages\nkubeadm.x86_64  1.18.4-0  kubernetes\nkubeadm.x86_64  1:1.19.16-0  kubernetes\n";
        assert_eq!(yum_list(told, "kubeadm"), ["1.19.16-0", "1.18.4-0"]);
    }

    #[test]
    fn a_version_without_revision_means_any_of_it() {
        assert!(is_asked("1.30.2-1.1", "1.30.2") && is_asked("1.30.2-1.1", "1.30.2-1.1"));
        assert!(!is_asked("1.30.20-1.1", "1.30.2") && !is_asked("1.30.2-1.1", "1.30") && !is_asked("1.30.2-1.1", "1.30.2-1.2"));
    }
}
