using System.Diagnostics;
using Edge.Protocol.Mqtt.Broker;
using Edge.Local.Processes;

namespace Edge.Ctl.Tests;

/// <summary><c>edgectl mqtt hash</c>, the real executable.</summary>
[Trait("Category", "Devices")]
public sealed class MqttHashTests
{
    [Fact]
    public async Task A_password_becomes_a_hash_that_the_broker_takes()
    {
        var (code, output, _) = await HashAsync("correct horse\n");
        Assert.Equal(0, code);
        Assert.True(MqttPassword.Verify(output.Trim(), "correct horse"u8));
        Assert.False(MqttPassword.Verify(output.Trim(), "correct horse "u8));
        Assert.DoesNotContain("horse", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_hash_for_SCRAM_serves_the_password_too()
    {
        var (code, output, _) = await HashAsync("correct horse\n", "--scram");
        Assert.Equal(0, code);
        Assert.StartsWith("scram-sha-256$", output, StringComparison.Ordinal);
        Assert.True(MqttPassword.Verify(output.Trim(), "correct horse"u8));
    }

    [Fact]
    public async Task An_empty_password_is_refused_with_the_fix()
    {
        var (code, output, error) = await HashAsync("");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("edgectl mqtt hash < password-file", error, StringComparison.Ordinal);
    }

    private static async Task<(int Code, string Output, string Error)> HashAsync(string input, params string[] more)
    {
        using var process = Process.Start(
            new ProcessStartInfo(Executables.Find("edgectl"), ["mqtt", "hash", .. more]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output, await error);
    }
}
