//! What is known about nodes.

use serde::Deserialize;

/// What is known about nodes whose name matches a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeModel {
    /// Pattern over the name; `*` stands for any text, `?` for one character.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Whether the kubelet works.
    pub kubelet: KubeletState,
    /// Why this is believed.
    pub why: String,
}

/// What a kubelet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KubeletState {
    /// It works.
    Running,
    /// It does nothing and tells nothing: 50 s later the node counts as unreachable.
    Stopped,
}
