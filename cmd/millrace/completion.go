package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

func (p *program) completion() *cobra.Command {
	c := &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a script that completes command lines of millrace in a shell",
		Long: "Print a script that completes command lines of millrace in a shell, with the names of the configuration's connectors and\n" +
			"streams. In bash, for this session: source <(millrace completion bash)",
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.out, true)
			case "zsh":
				return root.GenZshCompletion(p.out)
			case "fish":
				return root.GenFishCompletion(p.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(p.out)
			}
		},
	}
	return c
}

// completeStreams completes CONNECTOR[/STREAM] where the configuration can be
// read, and nothing where it cannot.
func (p *program) completeStreams(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	file, _, err := p.loadForBroker()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return app.StreamNames(file), cobra.ShellCompDirectiveNoFileComp
}

// completeFlag completes the name of a connector, or CONNECTOR/STREAM.
func (p *program) completeFlag(streams bool) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		names, how := p.completeStreams(c, nil, "")
		return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "/") != streams }), how
	}
}

// completeTopics completes topics that are not named yet: those of event types,
// and, where the configuration can be read, those that it routes events to.
func (p *program) completeTopics(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	file, _, err := p.loadForBroker()
	if err != nil {
		file = nil
	}
	named := func(name string) bool { return slices.Contains(args, name) }
	return slices.DeleteFunc(app.Topics(file), named), cobra.ShellCompDirectiveNoFileComp
}
