//! The program seen from outside: the binary, over real pipes, against a fake host.

// Helpers.

mod fake;
mod fixture;
mod session;
mod snapshot;

// Tests.

mod access;
mod bulk;
mod ceph;
mod check;
mod clients;
mod cloud;
mod commands;
mod day;
mod facts;
mod grants;
mod hosts;
mod login;
mod matrix;
mod migration;
mod network;
mod pages;
mod picture;
mod protocol;
mod rooms;
mod rows;
mod safety;
mod secrets;
mod settings;
mod several;
mod side_by_side;
mod storage;
mod tasks;
mod tools;
mod views;
mod waiting;
