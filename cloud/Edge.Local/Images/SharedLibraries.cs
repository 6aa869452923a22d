using System.Diagnostics;

namespace Edge.Local.Images;

/// <summary>Which shared libraries ELF files need, as the system's own loader resolves them.</summary>
public static class SharedLibraries
{
    private static readonly byte[] s_elf = [0x7f, (byte)'E', (byte)'L', (byte)'F'];

    /// <summary>Paths of all libraries needed by <paramref name="source"/>, a file or a folder, that lie outside it; the loader included.</summary>
    public static IReadOnlyCollection<string> Of(string source)
    {
        var files = Directory.Exists(source) ? Directory.EnumerateFiles(source, "*", SearchOption.AllDirectories) : File.Exists(source) ? [source]
            : throw new ImageException($"{source}: there is no such file or folder whose libraries could be added");
        var found = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var file in files.Where(IsElf))
        {
            foreach (var line in Resolve(file))
            {
                // "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)"
                var text = line.Trim();
                var arrow = text.IndexOf("=> ", StringComparison.Ordinal);
                if (text.EndsWith("not found", StringComparison.Ordinal))
                {
                    // Tracing (liblttng-ust) is optional for the runtime and absent on most machines.
                    if (text.StartsWith("liblttng", StringComparison.Ordinal))
                        continue;
                    throw new ImageException($"{file} needs {text}");
                }

                var path = (arrow < 0 ? text : text[(arrow + 3)..]).Split(' ')[0];
                if (path.StartsWith('/') && !path.StartsWith(Path.GetFullPath(source), StringComparison.Ordinal))
                    found.Add(path);
            }
        }

        return found;
    }

    private static bool IsElf(string path)
    {
        Span<byte> head = stackalloc byte[4];
        using var stream = File.OpenRead(path);
        return stream.ReadAtLeast(head, 4, throwOnEndOfStream: false) == 4 && head.SequenceEqual(s_elf);
    }

    private static string[] Resolve(string file)
    {
        var start = new ProcessStartInfo("ldd") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(file);
        using var process = Process.Start(start) ?? throw new ImageException("ldd did not start");
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();

        // A static program: "not a dynamic executable", or "statically linked".
        return process.ExitCode == 0 ? output.Split('\n')
            : output.Contains("not a dynamic", StringComparison.Ordinal) || error.Result.Contains("not a dynamic", StringComparison.Ordinal) ? []
            : throw new ImageException($"ldd {file}: {error.Result.Trim()}");
    }
}
