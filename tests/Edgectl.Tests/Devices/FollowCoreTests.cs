using System.Text.Json.Nodes;
using Edge.Ctl.Devices;
using static Edge.Ctl.Tests.Objects;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class FollowCoreTests
{
    [Fact]
    public void A_value_is_followed_through_the_mapper_to_the_device_and_back()
    {
        var core = Core(Status(Twin("setpoint", "21.5", 0, "21.5")), new Wanted("setpoint", "23"));
        Assert.Empty(Step(core, Status(Twin("setpoint", "21.5", 1000, "21.5"))));
        Assert.Equal([new FollowStep("setpoint", FollowStage.Observed, "23")], Step(core, Status(Twin("setpoint", "21.5", 1000, "23", 1500))));
        Assert.False(core.IsDone);
        Assert.Equal([new FollowStep("setpoint", FollowStage.Reported, "23.0")], Step(core, Status(Twin("setpoint", "23.0", 1600, "23", 1500))));
        Assert.True(core.IsDone);
        Assert.Empty(Step(core, Status(Twin("setpoint", "23.1", 2600, "23", 1500))));
    }

    [Fact]
    public void Both_in_one_state_are_two_steps()
        => Assert.Equal(
            [FollowStage.Observed, FollowStage.Reported],
            Step(Core(null, new Wanted("setpoint", "23")), Status(Twin("setpoint", "23", 2, "23", 1))).Select(step => step.Stage));

    [Fact]
    public void The_same_value_written_before_does_not_count()
    {
        // 23 was written long ago, the device was then turned by hand.
        var core = Core(Status(Twin("setpoint", "22", 0, "23", -5000)), new Wanted("setpoint", "23"));
        Assert.Empty(Step(core, Status(Twin("setpoint", "22", 100, "23", -5000))));
        Assert.Equal([FollowStage.Observed], Step(core, Status(Twin("setpoint", "22", 100, "23", 200))).Select(step => step.Stage));
    }

    [Fact]
    public void A_mapper_that_does_not_tell_what_it_wrote_is_followed_by_its_reports()
        => Assert.Equal([FollowStage.Reported], Step(Core(Status(Twin("setpoint", "21.5")), new Wanted("setpoint", "23")), Status(Twin("setpoint", "23", 100))).Select(step => step.Stage));

    [Fact]
    public void An_old_report_of_the_value_does_not_count_until_it_is_fresh()
    {
        var core = Core(Status(Twin("setpoint", "23", 0, "21.5")), new Wanted("setpoint", "23"));
        Assert.Empty(Step(core, Status(Twin("setpoint", "23", 0, "21.5"))));
        Assert.Equal([FollowStage.Reported], Step(core, Status(Twin("setpoint", "23", 1000, "21.5"))).Select(step => step.Stage));
    }

    [Fact]
    public void What_was_desired_already_is_done_when_it_is_there()
    {
        var core = Core(Status(Twin("setpoint", "21.5", 0, "21.5")), new Wanted("setpoint", "21.5"));
        Step(core, Status(Twin("setpoint", "21.5", 0, "21.5")));
        Assert.True(core.IsDone);
    }

    [Fact]
    public void A_value_that_the_register_rounds_arrives()
    {
        var core = Core(null, new Wanted("setpoint", "21.53"));
        Step(core, Status(Twin("setpoint", "21.5", 2, "21.53", 1)));
        Assert.True(core.IsDone);
        var other = Core(null, new Wanted("setpoint", "21.53"));
        Step(other, Status(Twin("setpoint", "21.4", 2, "21.53", 1)));
        Assert.False(other.IsDone);
    }

    [Fact]
    public void A_problem_is_told_once_and_a_value_beside_it_is_not_there()
    {
        var core = Core(Status(Twin("setpoint", "21.5")), new Wanted("setpoint", "23"));
        var refused = Status(Twin("setpoint", "23", 5, error: "exception 2"));
        Assert.Equal([new FollowStep("setpoint", FollowStage.Problem, "exception 2")], Step(core, refused));
        Assert.Empty(Step(core, refused));
        Assert.False(core.IsDone);
    }

    [Fact]
    public void Several_values_are_done_when_all_are()
    {
        var core = Core(null, new Wanted("setpoint", "23"), new Wanted("fan", "true"));
        Step(core, Status(Twin("fan", "1", 2, "true", 1)));
        Assert.False(core.IsDone);
        Assert.Equal(["setpoint=23 has not been written by the mapper"], FollowReport.Missing(core));
        Step(core, Status(Twin("fan", "1", 2, "true", 1), Twin("setpoint", "21", 2, "23", 1)));
        Assert.Equal(["setpoint=23 was written, but the device has not reported it back"], FollowReport.Missing(core));
        Step(core, Status(Twin("fan", "1", 2, "true", 1), Twin("setpoint", "23", 2, "23", 1)));
        Assert.True(core.IsDone);
    }

    [Fact]
    public void What_is_known_of_a_value_that_did_not_arrive_is_told()
    {
        var status = Status(Twin("setpoint", "21.5", -60_000, error: "no answer"));
        status["status"]!["state"] = "offline";
        status["status"]!["lastOnlineTime"] = "2026-03-04T11:58:00Z";
        var events = new[]
        {
            Json("""{"metadata": {"name": "e", "namespace": "default"}, "type": "Warning", "reason": "DesiredValueOutOfRange", "message": "no", "lastTimestamp": "2026-03-04T12:00:01Z"}"""),
            Json("""{"metadata": {"name": "f", "namespace": "default"}, "type": "Warning", "reason": "Old", "message": "no", "lastTimestamp": "2026-03-04T11:00:01Z"}"""),
        };
        Assert.Equal(
            [
                "device: node 'edge-1' is not ready: values are the last it sent",
                "the device is offline, last online 2m ago: check its power, cable and address",
                "setpoint: no answer",
                "event DesiredValueOutOfRange: no",
            ],
            FollowReport.Known(Device(), Model(), status, Node(ready: false), events, ["setpoint"], Now, Now));
    }

    [Fact]
    public void Where_nothing_is_known_the_mapper_is_asked_for()
        => Assert.Equal(
            ["setpoint: 21.5 was reported 60s ago", "the node is ready and tells of no problem: does a mapper for protocol 'modbus' run on it? Its log says more"],
            FollowReport.Known(Device(), Model(), Status(Twin("setpoint", "21.5", -60_000)), Node(), [], ["setpoint"], Now, Now));

    private static FollowCore Core(JsonObject? status, params Wanted[] wanted) => new(Device(), Model(), status, wanted);

    private static List<FollowStep> Step(FollowCore core, JsonObject status)
    {
        var steps = new List<FollowStep>();
        core.Step(status, steps);
        return steps;
    }
}
