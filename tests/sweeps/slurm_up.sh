#!/bin/bash
# A Slurm of one node on this machine, as root: no systemd, no control groups, no accounting. What it needs lies in DIR;
# afterwards: export SLURM_CONF=DIR/slurm.conf. Stopped by slurm_down.sh DIR.   usage: slurm_up.sh DIR PORT
set -euo pipefail
dir=$1 port=$2 host=$(hostname -s)
mkdir -p "$dir"/state "$dir"/spool "$dir"/log
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cat > "$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
KillWait=5
MinJobAge=60
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=60:00 State=UP DefMemPerCPU=512
CONF
export SLURM_CONF=$dir/slurm.conf
head -c 128 /dev/urandom > "$dir/munge.key"
chmod 600 "$dir/munge.key"
munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
  --log-file="$dir/log/munged.log" --seed-file="$dir/munge.seed"
slurmctld
slurmd
for _ in $(seq 150); do
  [ "$(sinfo --noheader --format=%T 2> /dev/null)" = idle ] && exit 0
  sleep 0.2
done
echo "the node did not come up; see $dir/log" >&2
exit 1
