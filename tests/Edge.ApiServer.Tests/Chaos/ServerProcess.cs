using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Chaos;

/// <summary>The test assembly as a program: <c>serve DIRECTORY</c> runs a server until the process is killed, so that tests can kill a real one.</summary>
public static class ServerProcess
{
    public static async Task<int> Main(string[] arguments)
    {
        if (arguments is not ["serve", var directory])
        {
            await Console.Error.WriteLineAsync("usage: serve DIRECTORY");
            return 2;
        }

        await using var server = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = directory, Port = 0 }, TimeProvider.System, NullLoggerFactory.Instance, default);
        await Console.Out.WriteLineAsync(server.KubeconfigPath);
        await Console.In.ReadToEndAsync(); // ends with the parent, should that go first
        return 0;
    }
}
