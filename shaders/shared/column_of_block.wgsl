// One thread for each column of each block of rows: GROUP columns to a work-group in x; blocks in y, folded
// into z where there are more than a dimension holds. The shader says what `column_of_block` does with them.

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    column_of_block(group.x * GROUP + local, group.z * groups.y + group.y);
}

