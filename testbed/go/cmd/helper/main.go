// Command helper does the three small things the test bed needs from a static binary, so that it
// depends on neither openssl, util-linux nor a C compiler.
//
//	helper leash PARENT_PID PROGRAM [ARG...]   run PROGRAM; the kernel kills it when its parent dies
//	helper service-account-key DIR             write sa.key and sa.pub into DIR
//	helper pause                               wait for SIGTERM and reap children: PID 1 of a pod sandbox
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The parent-death signal belongs to a thread: setting it and the exec must happen on the same one.
func init() { runtime.LockOSThread() }

func main() {
	switch {
	case len(os.Args) >= 4 && os.Args[1] == "leash":
		fail(leash(os.Args[2], os.Args[3:]))
	case len(os.Args) == 3 && os.Args[1] == "service-account-key":
		fail(writeServiceAccountKey(os.Args[2]))
	case len(os.Args) == 2 && os.Args[1] == "pause":
		pause()
	default:
		fail(fmt.Errorf("usage: helper leash PARENT_PID PROGRAM [ARG...] | service-account-key DIR | pause"))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

// leash survives the exec: the signal setting is kept by every program that is not setuid.
func leash(parent string, argv []string) error {
	expected, err := strconv.Atoi(parent)
	if err != nil {
		return fmt.Errorf("parent pid: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set parent-death signal: %w", err)
	}
	if os.Getppid() != expected { // it died before the signal was set, and nobody would stop us
		return fmt.Errorf("parent %d is gone", expected)
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, argv, os.Environ())
}

func writeServiceAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "sa.key"), "EC PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public, 0o644)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-stop:
			return
		case <-children:
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}
