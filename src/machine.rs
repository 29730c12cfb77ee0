//! What this machine has.

/// Bytes that a plan or a data set may take: this machine's memory, or what its container allows.
pub fn memory_limit() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else {
        return u64::MAX; // an unknown platform: the allocator will have the last word
    };
    system.refresh_memory();
    let total = system.total_memory();
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => total.min(limits.total_memory),
        _ => total,
    }
}
