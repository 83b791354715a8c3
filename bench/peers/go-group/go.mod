module go-group

go 1.19
