// Package notify decides what people are told. The one idea: nothing is told because it was
// seen to happen, but because what is differs from what was told. A record says what was told;
// it is written before anything is sent, so that neither a restart nor a missed event loses a
// message, and no message is made twice of one fact.
//
// A message is a closed struct without any field for material: what cannot be in it cannot be
// sent.
package notify
