//! L0: words everybody uses. No async, no Kubernetes client, no Lua.

pub mod clock;
pub mod diff;
pub mod error;
pub mod image;
pub mod number;
pub mod object_ref;
pub mod release;
pub mod span;
pub mod value;
pub mod version;

pub use clock::{Clock, Timestamp};
pub use error::{Error, Kind, Place, Reason, Result, did_you_mean};
pub use image::Image;
pub use lockgate_sim::base64;
pub use lockgate_sim::json;
pub use lockgate_sim::quantity::Quantity;
pub use object_ref::ObjectRef;
pub use span::Span;
pub use value::{Object, Typed, Value, items_of_list};
pub use version::Version;
