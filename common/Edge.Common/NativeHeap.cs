using System.Runtime.InteropServices;

namespace Edge.Common;

/// <summary>The C library's heap, from which OpenSSL and SQLite take their memory.</summary>
public static partial class NativeHeap
{
    // malloc.h
    private const int ArenaMax = -8;

    /// <summary>Lets all threads share this many arenas. glibc makes one for each thread, up to eight times the processors, and what is free in one is of no use to the others:
    /// with thousands of TLS connections that was a third of the process's memory.</summary>
    /// <remarks>For the start of a program, before there are other threads. Arenas that exist stay.</remarks>
    /// <returns>False where the C library has no such setting (musl, macOS, Windows); it is memory that is lost, not function.</returns>
    public static bool LimitArenas(int arenas)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(arenas, 1);
        if (!OperatingSystem.IsLinux() || !NativeLibrary.TryLoad("libc.so.6", out var library) || !NativeLibrary.TryGetExport(library, "mallopt", out _))
            return false;
        return SetOption(ArenaMax, arenas) == 1;
    }

    /// <summary>Gives what is free back to the system now; glibc else keeps what lies between blocks in use, such as what the JIT took while the program started.</summary>
    /// <returns>False where the C library cannot, or had nothing to give.</returns>
    public static bool Trim()
        => OperatingSystem.IsLinux() && NativeLibrary.TryLoad("libc.so.6", out var library) && NativeLibrary.TryGetExport(library, "malloc_trim", out _) && GiveBack(0) == 1;

    [LibraryImport("libc.so.6", EntryPoint = "malloc_trim")]
    private static partial int GiveBack(nuint keep);

    [LibraryImport("libc.so.6", EntryPoint = "mallopt")]
    private static partial int SetOption(int option, int value);
}
