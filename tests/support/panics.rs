use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

/// A panic that was caught.
#[derive(Debug)]
pub struct Panic {
    pub message: String,
}

thread_local! {
    /// `Some` while this thread is expected to panic.
    static CAUGHT: RefCell<Option<Option<Panic>>> = const { RefCell::new(None) };
}

/// Returns the panic of `f` on this thread, without printing it.
pub fn panic_of<T>(f: impl FnOnce() -> T) -> Panic {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let expected = CAUGHT.with_borrow_mut(|caught| {
                let Some(caught) = caught else { return false };
                let payload = info.payload();
                let message = match payload.downcast_ref::<String>() {
                    Some(formatted) => formatted,
                    None => *payload.downcast_ref::<&str>().unwrap_or(&"no text"),
                };
                *caught = Some(Panic {
                    message: message.to_owned(),
                });
                true
            });
            if !expected {
                others(info);
            }
        }));
    });
    CAUGHT.set(Some(None));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    let caught = CAUGHT.take().flatten();
    assert!(result.is_err(), "the function did not panic");
    caught.expect("the panic went through the hook")
}
