using System.Globalization;
using System.Runtime.InteropServices;

namespace Edge.Common;

/// <summary>The program's own files that are mapped into its memory: assemblies, whose code and metadata are read to compile methods and hardly ever afterwards, and the compiler.</summary>
public static partial class MappedFiles
{
    // madvise(2): the pages are taken out of the process, and read again from the file, mostly from the system's cache of it, when they are touched.
    private const int DontNeed = 4;

    /// <summary>Takes the pages of assemblies and of the compiler out of the process's memory; nothing of the program notices but by a page fault where one is used again.</summary>
    /// <returns>Bytes of address space that were given back, used or not; 0 where the system is not Linux with glibc.</returns>
    public static long Release()
    {
        if (!OperatingSystem.IsLinux() || !NativeLibrary.TryLoad("libc.so.6", out var library) || !NativeLibrary.TryGetExport(library, "madvise", out _))
            return 0;
        var released = 0L;
        foreach (var (start, length) in Ranges(File.ReadLines("/proc/self/maps")))
        {
            if (Advise((nint)start, (nuint)length, DontNeed) == 0)
                released += length;
        }

        return released;
    }

    /// <summary>The mappings that may be given back at any time because they cannot differ from their file: assemblies, which are mapped shared and read-only, and the code of the JIT compiler,
    /// which is position-independent. Not the code of the runtime, which may patch itself, and no data of a library, which the loader has changed (pure).</summary>
    /// <param name="maps">Lines of <c>/proc/PID/maps</c> (proc_pid_maps(5)).</param>
    internal static IEnumerable<(long Start, long Length)> Ranges(IEnumerable<string> maps)
    {
        foreach (var line in maps)
        {
            var isAssembly = line.EndsWith(".dll", StringComparison.Ordinal) && line.Contains(" r--s ", StringComparison.Ordinal);
            if (!isAssembly && !(line.EndsWith("/libclrjit.so", StringComparison.Ordinal) && line.Contains(" r-xp ", StringComparison.Ordinal)))
                continue;
            var dash = line.IndexOf('-', StringComparison.Ordinal);
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            if (dash > 0 && space > dash
                && long.TryParse(line.AsSpan(0, dash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var start)
                && long.TryParse(line.AsSpan(dash + 1, space - dash - 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var end) && end > start)
                yield return (start, end - start);
        }
    }

    [LibraryImport("libc.so.6", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}
