//! A clock for one thread, however often others have its core.

/// Seconds that this thread has computed.
#[allow(unsafe_code)]
pub(crate) fn computed() -> f64 {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const THREAD: i32 = 3;
    let mut time = [0; 2];
    // SAFETY: the C library's function, with room for its result.
    unsafe { clock_gettime(THREAD, &raw mut time) };
    time[0] as f64 + 1e-9 * time[1] as f64
}
