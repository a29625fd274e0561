// Package controlplane runs a real Kubernetes control plane on the loopback
// interface for as long as a test or the demo needs it.
//
// The one idea: nothing is played. It is etcd, kube-apiserver and, if asked for,
// kube-controller-manager, as released, so admission, garbage collection, namespace
// deletion, tokens and conflicts are those of a cluster. What is missing is nodes:
// no scheduler, no kubelet; a Pod stays Pending.
//
// envtest starts etcd and the API server; this package adds what envtest leaves out
// on purpose or by age: the controller manager, ServiceAccount admission, an audit
// log, logs that survive a failed start, and children that die with their parent
// however it ends.
//
// It is for tests only: etcd listens on 127.0.0.1 without authentication.
package controlplane
