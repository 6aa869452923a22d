using System.Globalization;

namespace Edge.Common.Tests;

[Trait("Category", "Unit")]
public sealed class MappedFilesTests
{
    [Fact]
    public void Only_what_cannot_differ_from_its_file_is_given_back()
    {
        string[] maps =
        [
            "7f99b4400000-7f99b46d5000 r--s 00000000 fd:00 131 /opt/edge/System.Private.CoreLib.dll",
            "7f99b5000000-7f99b5001000 rw-p 00000000 fd:00 132 /opt/edge/Written.dll",
            "7f8de9ab1000-7f8de9e76000 r-xp 000b1000 fd:00 133 /opt/edge/libclrjit.so",
            "7f8de9e76000-7f8de9e80000 r--p 00476000 fd:00 133 /opt/edge/libclrjit.so",
            "7f9a44dc9000-7f9a4527a000 r-xp 001c9000 fd:00 134 /opt/edge/libcoreclr.so",
            "562f1afc4000-562f1b582000 rw-p 00000000 00:00 0 [heap]",
            "7f8ddc000000-7f8ddc5ae000 rw-p 00000000 00:00 0",
            "broken r--s line.dll",
        ];
        Assert.Equal([(0x7f99b4400000, 0x2d5000), (0x7f8de9ab1000, 0x3c5000)], MappedFiles.Ranges(maps));
    }

    [Fact]
    public void The_assemblies_leave_the_memory_and_the_program_goes_on_with_them()
    {
        if (!OperatingSystem.IsLinux())
            return;
        var before = ResidentKb();
        Assert.True(MappedFiles.Release() > 0);
        Assert.True(ResidentKb() < before, $"{before} kB of assemblies were resident");
        // Compiled only now, from pages that are not there.
        Assert.Equal("1,2,3", string.Join(',', new SortedSet<Half> { (Half)3, (Half)1, (Half)2 }.Select(one => one.ToString(CultureInfo.InvariantCulture))));
    }

    // Of assemblies alone: other tests run beside this one.
    private static long ResidentKb()
    {
        var sum = 0L;
        var isAssembly = false;
        foreach (var line in File.ReadLines("/proc/self/smaps"))
        {
            if (line.StartsWith("Rss:", StringComparison.Ordinal))
                sum += isAssembly ? long.Parse(line.AsSpan(4, line.Length - 6).Trim(), CultureInfo.InvariantCulture) : 0;
            else if (line.Contains('-', StringComparison.Ordinal) && line.Contains(" r", StringComparison.Ordinal))
                isAssembly = line.EndsWith(".dll", StringComparison.Ordinal) && line.Contains(" r--s ", StringComparison.Ordinal);
        }

        return sum;
    }
}
