#!/bin/bash
# Stops what slurm_up.sh DIR started.
for daemon in slurmd slurmctld munged; do
  file=$1/$daemon.pid
  [ -s "$file" ] || continue
  process=$(cat "$file")
  kill "$process" 2> /dev/null
  for _ in $(seq 50); do
    kill -0 "$process" 2> /dev/null || break
    sleep 0.1
  done
  kill -9 "$process" 2> /dev/null
done
exit 0
