using System.CommandLine;
using System.Diagnostics;
using Edge.Local.Images;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl image build|import|list</c>: images from local files, for nodes without internet.</summary>
internal static class ImageCommand
{
    private const string DefaultEndpoint = "unix:///run/containerd/containerd.sock";

    private static readonly Option<string> s_endpoint = new("--runtime-endpoint", "-p")
    {
        Description = "containerd's socket",
        DefaultValueFactory = _ => DefaultEndpoint,
    };

    public static Command Create() => new("image", """
        Makes container images from local files and brings them into containerd, without a registry.

        Examples:
          edgectl image build --busybox --name docker.io/edge/busybox:1.0 --output busybox.tar
          edgectl image build --name docker.io/edge/mapper:1.0 --add ./publish:/app --add-libs-of ./publish --entrypoint /app/modbus-mapper --output mapper.tar
          edgectl image import busybox.tar
          edgectl image list
        """) { Build(), Import(), List() };

    private static Command Build()
    {
        var output = new Option<string>("--output", "-o") { Description = "the tar file to write (an OCI layout)", Required = true };
        var name = new Option<string>("--name") { Description = "full reference, e.g. docker.io/edge/busybox:1.0", Required = true };
        var busybox = new Option<bool>("--busybox") { Description = "add the static busybox of this machine (Debian: busybox-static)" };
        var add = new Option<string[]>("--add") { Description = "HOSTPATH:CONTAINERPATH of a file or folder; may be repeated" };
        var libraries = new Option<string[]>("--add-libs-of") { Description = "a file or folder whose shared libraries are added; may be repeated" };
        var entrypoint = new Option<string[]>("--entrypoint") { Description = "one word of the entrypoint; may be repeated" };
        var cmd = new Option<string[]>("--cmd") { Description = "one word of the default arguments; may be repeated" };
        var env = new Option<string[]>("--env") { Description = "KEY=value; may be repeated" };
        var command = new Command("build", "Builds an image of one layer from local files.") { output, name, busybox, add, libraries, entrypoint, cmd, env };
        command.SetAction(parsed => Guard(() =>
        {
            var image = OciImage.Create(parsed.GetValue(name)!);
            if (parsed.GetValue(busybox))
                image.AddBusybox(Busybox.Find(), Busybox.Applets());
            foreach (var pair in parsed.GetValue(add) ?? [])
            {
                var colon = pair.LastIndexOf(':');
                if (colon <= 0)
                    throw new ImageException($"--add {pair}: must be HOSTPATH:CONTAINERPATH");
                image.Add(pair[..colon], pair[(colon + 1)..]);
            }

            foreach (var source in parsed.GetValue(libraries) ?? [])
                image.AddLibrariesOf(source);
            image.Entrypoint = parsed.GetValue(entrypoint) ?? [];
            image.Command = parsed.GetValue(cmd) ?? [];
            image.Environment = [.. image.Environment, .. parsed.GetValue(env) ?? []];
            using (var file = File.Create(parsed.GetValue(output)!))
                image.Write(file);
            Console.WriteLine($"{image.Name} is in {parsed.GetValue(output)}");
            return 0;
        }));
        return command;
    }

    private static Command Import()
    {
        var file = new Argument<string>("FILE") { Description = "a tar file: OCI layout or docker save" };
        var command = new Command("import", "Brings an image from a file into containerd, where pods find it.") { file, s_endpoint };
        command.SetAction(parsed => Guard(() =>
        {
            var path = parsed.GetValue(file)!;
            if (!File.Exists(path))
                throw new ImageException($"{path}: there is no such file");
            return Ctr(parsed.GetValue(s_endpoint)!, "images", "import", path);
        }));
        return command;
    }

    private static Command List()
    {
        var command = new Command("list", "Shows the images that pods on this node can use.") { s_endpoint };
        command.SetAction(parsed => Guard(() => Ctr(parsed.GetValue(s_endpoint)!, "images", "list", "-q")));
        return command;
    }

    private static int Ctr(string endpoint, params string[] arguments)
    {
        var socket = endpoint.StartsWith("unix://", StringComparison.Ordinal) ? endpoint["unix://".Length..] : endpoint;
        if (!File.Exists(socket))
            throw new ImageException($"{socket}: there is no containerd socket; name it with --runtime-endpoint");
        var start = new ProcessStartInfo("ctr");
        foreach (var argument in (string[])["-a", socket, "-n", "k8s.io", .. arguments])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new ImageException("ctr did not start");
        process.WaitForExit();
        return process.ExitCode;
    }

    private static int Guard(Func<int> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is ImageException or IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            Console.Error.WriteLine($"edgectl image: {e.Message}");
            return 1;
        }
    }
}
