using System.Diagnostics;

namespace Edge.Local.Images;

/// <summary>The static busybox of this machine (Debian's busybox-static).</summary>
public static class Busybox
{
    /// <summary>The path of the program.</summary>
    /// <exception cref="ImageException">Not installed.</exception>
    public static string Find()
        => ((string[])["/bin/busybox", "/usr/bin/busybox"]).FirstOrDefault(File.Exists)
            ?? throw new ImageException("there is no busybox on this machine; on Debian: apt-get install busybox-static");

    /// <summary>The applets it has, as <c>busybox --list</c> names them.</summary>
    public static IReadOnlyList<string> Applets()
    {
        using var process = Process.Start(new ProcessStartInfo(Find(), "--list") { RedirectStandardOutput = true })
            ?? throw new ImageException("busybox did not start");
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
    }

    /// <summary>A sandbox image: a first process that waits, and ends at once when it is told to.</summary>
    public static OciImage PauseImage(string name)
    {
        var image = OciImage.Create(name).AddBusybox(Find(), Applets());

        // As the first process of its namespace it gets only the signals that it handles.
        image.Entrypoint = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done"];
        return image;
    }
}
