//! `primitive!`: declares a verb, its arguments, its documentation and its needs in one place.
//!
//! ```text
//! primitive! {
//!     /// Changes container images in a workload's pod template.
//!     pub write fn set_image as SetImage(
//!         /// The workload, for example `daemonset/cce-cni-node-agent`.
//!         workload: ObjectRef,
//!         /// The new image for each container name.
//!         images: Map<Image>,
//!     ) options {
//!         /// The namespace, when the reference has none.
//!         namespace: Option<String>,
//!     } -> "{ changed: boolean }", "what was replaced";
//!     since "0.1";
//!     example r#"set_image("deployment/web", { web = "registry.example/web:v2" })"#;
//!     needs ["get {workload}", "patch {workload}"];
//! }
//! ```
//! It makes the struct `SetImage` with a field per argument and option, `SetImage::DEFINITION`, and the call that decodes the
//! arguments and runs `SetImage::run(self, cx)`. A missing doc comment does not compile.

/// Declares a verb; see the module.
#[macro_export]
macro_rules! primitive {
    (
        $(#[doc = $doc:literal])+
        pub $effect:ident fn $name:ident $(. $member:ident)? as $Name:ident (
            $( $(#[doc = $pdoc:literal])+ $param:ident : $pty:ty ),* $(,)?
        ) $( options {
            $( $(#[doc = $odoc:literal])+ $option:ident : $oty:ty ),* $(,)?
        } )? -> $returns:literal, $rdoc:literal;
        since $since:literal;
        example $example:literal;
        needs [ $( $need:literal ),* $(,)? ];
    ) => {
        $(#[doc = $doc])+
        pub struct $Name {
            $( $(#[doc = $pdoc])+ pub $param: $pty, )*
            $( $( $(#[doc = $odoc])+ pub $option: $oty, )* )?
        }

        impl $Name {
            /// The verb as data.
            pub const DEFINITION: $crate::primitives::registry::Definition = $crate::primitives::registry::Definition {
                name: concat!(stringify!($name) $(, ".", stringify!($member))?),
                effect: $crate::primitive!(@effect $effect),
                doc: &[$($doc),+],
                params: &[$( $crate::primitives::registry::Param {
                    name: $crate::primitives::macros::bare(stringify!($param)),
                    doc: &[$($pdoc),+],
                    ty: <$pty as $crate::primitives::types::ArgType>::TYPE,
                } ),*],
                options: &[$( $( $crate::primitives::registry::Param {
                    name: $crate::primitives::macros::bare(stringify!($option)),
                    doc: &[$($odoc),+],
                    ty: <$oty as $crate::primitives::types::ArgType>::TYPE,
                } ),* )?],
                returns: $returns,
                returns_doc: $rdoc,
                since: $since,
                example: $example,
                needs: &[$($need),*],
                call: Some(Self::call),
            };

            fn call(
                cx: $crate::primitives::cx::Cx,
                arguments: $crate::primitives::registry::Arguments,
            ) -> futures::future::LocalBoxFuture<'static, $crate::base::Result<$crate::primitives::done::Done>> {
                Box::pin(async move { Self::decode(arguments)?.run(cx).await })
            }

            /// Makes the call from a script's arguments.
            ///
            /// # Errors
            /// A usage error that names the verb and the argument.
            #[allow(unused_mut, unused_assignments, unused_variables, reason = "a verb may have no arguments")]
            pub fn decode(mut arguments: $crate::primitives::registry::Arguments) -> $crate::base::Result<Self> {
                arguments.check(&Self::DEFINITION)?;
                let verb = Self::DEFINITION.name;
                let mut place = 0;
                $(
                    let $param: $pty = $crate::primitives::types::decode(
                        verb, "argument", $crate::primitives::macros::bare(stringify!($param)), arguments.take(place))?;
                    place += 1;
                )*
                $( $(
                    let $option: $oty = $crate::primitives::types::decode(
                        verb, "option", $crate::primitives::macros::bare(stringify!($option)),
                        arguments.take_option($crate::primitives::macros::bare(stringify!($option))))?;
                )* )?
                Ok(Self { $($param,)* $( $($option,)* )? })
            }
        }
    };
    (@effect read) => { $crate::primitives::registry::Effect::Read };
    (@effect write) => { $crate::primitives::registry::Effect::Write };
    (@effect ask) => { $crate::primitives::registry::Effect::Ask };
    (@effect tell) => { $crate::primitives::registry::Effect::Tell };
}

/// The name without the `r#` that Rust needs for its own words (`type`).
#[must_use]
pub const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
