#!/bin/bash
# Routes to the pods of the other nodes: what kind's own network does, where its image is not to be had.
# Every change of a node says anew which pods are where; a lost watch begins again.
export KUBECONFIG=/etc/kubernetes/kubelet.conf
own=$(hostname)
while sleep 1; do
  [ -f "$KUBECONFIG" ] || continue
  # What is for a pod and no node has it goes nowhere; the default route would send it out of the cluster.
  subnet=$(sed -n 's/^ *podSubnet: *"\?\([^"]*\)"\?$/\1/p' /kind/kubeadm.conf)
  [ -n "$subnet" ] && ip route replace unreachable "$subnet"
  kubectl get nodes --watch -o jsonpath='{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}' |
    while read -r name cidr address; do
      [ -n "$address" ] && [ "$name" != "$own" ] && ip route replace "$cidr" via "$address"
    done
done
