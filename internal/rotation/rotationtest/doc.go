// Package rotationtest plays the life of a credential around rotation.Next, in a world
// that is small enough to be searched: a credential, its journal, its target, an
// upstream, and processes that die, stand still and read old caches.
//
// The one idea: reads are as old as a cache, writes carry what was read, and a lost race
// ends a pass, as on an API server. After every single step of any process and after
// every event the rules of Broken must hold; where nothing is left to do, those of
// Settled.
//
// The same world serves three kinds of proof. Search visits every state that a number of
// events can lead to, breadth first, so that the story of a failure is the shortest one.
// Stories are single lives, told. A Year is a fleet under random faults.
//
// A feature that adds facts or actions to the planner plugs in as a Dimension.
package rotationtest
