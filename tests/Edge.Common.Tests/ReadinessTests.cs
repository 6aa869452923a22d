using Edge.Common;
using Edge.Common.Storage;

namespace Edge.Common.Tests;

[Trait("Category", "Unit")]
public sealed class ReadinessTests
{
    private readonly Clock _time = new();

    [Fact]
    public async Task Ready_while_no_check_complains_and_the_text_names_those_that_do()
    {
        using var readiness = new Readiness(_time);
        string? wrong = null;
        readiness.Add("store", () => wrong);
        readiness.Add("hub", () => null);
        Assert.Equal((true, "ok"), await readiness.AskAsync(false, CancellationToken.None));
        Assert.Equal((true, "[+]store ok\n[+]hub ok"), await readiness.AskAsync(true, CancellationToken.None));
        wrong = "the disk is\nfull";
        // What was answered serves for a second.
        Assert.Equal((true, "ok"), await readiness.AskAsync(false, CancellationToken.None));
        _time.Now += Readiness.FreshFor;
        Assert.Equal((false, "[-]store: the disk is full"), await readiness.AskAsync(false, CancellationToken.None));
        wrong = null;
        _time.Now += Readiness.FreshFor;
        Assert.Equal((true, "ok"), await readiness.AskAsync(false, CancellationToken.None));
    }

    [Fact]
    public async Task Check_that_does_not_answer_is_a_problem_of_its_own()
    {
        using var readiness = new Readiness(TimeProvider.System);
        readiness.Add("stuck", async token =>
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, token);
            return null;
        });
        var (isReady, text) = await readiness.AskAsync(false, CancellationToken.None);
        Assert.Equal((false, "[-]stuck: no answer within 5 s"), (isReady, text));
    }

    [Fact]
    public async Task Database_says_whether_a_write_reaches_the_disk()
    {
        var directory = Directory.CreateTempSubdirectory("edge-ready-");
        try
        {
            await using var database = SqliteDatabase.Open(Path.Combine(directory.FullName, "a.db"), ["CREATE TABLE a (b)", "CREATE TABLE c (d)"], TimeProvider.System);
            Assert.Null(await database.WriteProblemAsync());
            Assert.Equal(2L, database.Read(connection =>
            {
                using var command = connection.CreateCommand();
                command.CommandText = "PRAGMA user_version";
                return (long)command.ExecuteScalar()!;
            }));
            await database.WriteAsync(connection =>
            {
                using var command = connection.CreateCommand();
                command.CommandText = "PRAGMA query_only=ON";
                command.ExecuteNonQuery();
            });
            Assert.Contains("readonly", await database.WriteProblemAsync(), StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private sealed class Clock : TimeProvider
    {
        public TimeSpan Now { get; set; } = TimeSpan.FromDays(1);

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now.Ticks;
    }
}
